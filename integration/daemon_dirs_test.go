package integration_test

import (
	"io"
	"os"
	"testing"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdtest"
	"github.com/ctrdkit/containerd/internal/seam"
)

// TestDaemonsOfTestsShareNoDirectories runs one container of the same name on
// two daemons. Each has a log and FIFOs of its own, which the test's end removes.
func TestDaemonsOfTestsShareNoDirectories(t *testing.T) {
	var dirs []string
	t.Run("two daemons", func(t *testing.T) {
		for _, text := range []string{"one", "two"} {
			daemon := containerdtest.NewDaemon(t)
			daemon.AddImage("app", containerdtest.Image{})
			dirs = append(dirs, logAndFIFODirs(t, daemon, text)...)
		}
	})

	assert.Len(t, dirs, 4)
	for i, dir := range dirs {
		assert.NotContains(t, dirs[:i], dir)
		assert.NoDirExists(t, dir)
	}
}

// logAndFIFODirs runs a task that logs the text, and returns the directories of
// its log and of another task's FIFOs.
func logAndFIFODirs(t *testing.T, daemon *containerdtest.Daemon, text string) (dirs []string) {
	t.Helper()
	ctx := t.Context()
	for id, streams := range map[string]containerd.TaskIO{"logged": containerd.LogIO{}, "read": containerd.StreamIO{Stdout: io.Discard}} {
		_, err := daemon.CreateContainer(ctx, containerd.CreateContainerRequest{
			ID: id, ImageRef: "app", SpecOpts: []oci.SpecOpts{oci.WithProcessArgs("sh", "-c", "echo "+text+"; pause")},
		})
		require.NoError(t, err)
		_, err = daemon.LaunchTask(ctx, id, containerd.LaunchTaskRequest{IO: streams})
		require.NoError(t, err)
	}
	for entry, err := range daemon.Logs(ctx, "logged", &containerd.LogsOptions{Follow: true}) {
		require.NoError(t, err)
		require.Contains(t, string(entry.Data), text)
		break
	}
	record, err := daemon.Client().ContainerService().Get(namespaces.WithNamespace(ctx, containerd.DefaultNamespace), "logged")
	require.NoError(t, err)
	for _, value := range record.Labels {
		if info, err := os.Stat(value); err == nil && info.IsDir() {
			dirs = append(dirs, value)
		}
	}
	return append(dirs, seam.FIFODirs(daemon.DefaultService)...)
}
