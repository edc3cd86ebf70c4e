package reconciler_test

import (
	"maps"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdtest"
	"github.com/ctrdkit/containerd/examples/reconciler"
)

const label = "example.com/worker"

// backend is what the fake and the real daemon have in common.
type backend interface {
	containerd.Engine
	AddImage(ref string, image containerdtest.Image)
}

// testLife takes two containers from their creation to their removal.
func testLife(t *testing.T, svc backend) {
	containerdtest.AssertNoLeaks(t, svc)
	svc.AddImage("app", containerdtest.Image{})
	r := reconciler.Reconciler{Service: svc, Label: label, Grace: time.Second}

	run(t, r, "db", "web")
	first := pids(t, svc)
	assert.ElementsMatch(t, []string{"db", "web"}, names(first), "missing ones are started")

	run(t, r, "db", "web")
	assert.Equal(t, first, pids(t, svc), "a further run changes nothing")

	require.NoError(t, svc.StopTask(t.Context(), "web", &containerd.StopTaskOptions{Signal: syscall.SIGKILL}))
	run(t, r, "db", "web")
	second := pids(t, svc)
	assert.Contains(t, second, "web", "a stopped one is started again")
	assert.NotEqual(t, first["web"], second["web"])
	assert.Equal(t, first["db"], second["db"], "the other one is left alone")

	run(t, r, "web")
	assert.Equal(t, []string{"web"}, names(pids(t, svc)), "an unwanted one is removed")

	run(t, r)
	left, err := svc.ListContainers(t.Context())
	require.NoError(t, err)
	assert.Empty(t, left)
}

// run wants one container of the image app for each name.
func run(t *testing.T, r reconciler.Reconciler, names ...string) {
	t.Helper()
	require.NoError(t, r.Run(t.Context(), wanted(names...)))
}

func wanted(names ...string) map[string]reconciler.Spec {
	want := make(map[string]reconciler.Spec)
	for _, name := range names {
		want[name] = reconciler.Spec{Image: "app"}
	}
	return want
}

// pids returns the running containers and their processes.
func pids(t *testing.T, svc containerd.TaskService) map[string]uint32 {
	t.Helper()
	running, err := svc.ListTasks(t.Context(), &containerd.ListTasksOptions{Filter: "status==RUNNING"})
	require.NoError(t, err)
	found := make(map[string]uint32)
	for _, task := range running {
		found[task.ContainerID] = task.PID
	}
	return found
}

func names(pids map[string]uint32) []string { return slices.Sorted(maps.Keys(pids)) }
