package integration_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdtest"
)

// engine is what the fake and the real daemon have in common for tests.
type engine interface {
	containerd.Engine
	AddImage(ref string, image containerdtest.Image)
}

// TestOneImageOnBoth runs one image of Image's making on the fake and on a real
// daemon: files, environment, script and user are the same.
func TestOneImageOnBoth(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) engine{
		"fake":   func(t *testing.T) engine { return containerdtest.New(t) },
		"daemon": func(t *testing.T) engine { return containerdtest.NewDaemon(t) },
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			svc := start(t)
			containerdtest.AssertNoLeaks(t, svc)
			svc.AddImage("app", containerdtest.Image{
				Files: map[string]string{
					"/etc/app/name": "app", "/usr/check": "#!/bin/sh\n[ \"$(cat /etc/app/name)\" = app ] && [ \"$MODE\" = test ] && exit 7\n",
				},
				Env: []string{"MODE=test"}, WorkingDir: "/etc/app", StopSignal: "SIGINT",
			})
			_, err := svc.CreateContainer(ctx, containerd.CreateContainerRequest{ID: "web", ImageRef: "app"})
			require.NoError(t, err)
			_, err = svc.StartTask(ctx, "web", nil)
			require.NoError(t, err)

			for _, line := range [][]string{{"/usr/check"}, {"sh", "-c", "[ $(pwd) = /etc/app ] && /usr/check"}} {
				result, err := svc.ExecTask(ctx, "web", containerd.ExecTaskRequest{Args: line})
				require.NoError(t, err)
				assert.EqualValues(t, 7, result.ExitCode, "%v", line)
			}
			require.NoError(t, svc.DeleteTask(ctx, "web", &containerd.DeleteTaskOptions{Force: true}))
			require.NoError(t, svc.DeleteContainer(ctx, "web", nil))
		})
	}
}
