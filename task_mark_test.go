package containerd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// child starts a process that ends with the test, and describes it as a task.
func child(t *testing.T) *tasktypes.Process {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, cmd.Process.Kill())
		require.Error(t, cmd.Wait())
	})
	return &tasktypes.Process{Pid: uint32(cmd.Process.Pid), Status: tasktypes.Status_CREATED}
}

func TestStartMarkTellsWhoseTaskItIs(t *testing.T) {
	_, s, _ := mocked(t)
	id := filepath.Base(t.TempDir()) + fmt.Sprint(os.Getpid())
	before := child(t)
	for startTime(fmt.Sprint(before.GetPid())) == fmt.Sprint(bootTicks()) {
		continue // the same tick can't be told apart
	}
	unmark := s.markStart(id)
	after := child(t)

	by, _ := s.starter(id, before)
	assert.Nil(t, by, "a process older than the mark is not its task")
	by, _ = s.starter(id+"x", after)
	assert.Nil(t, by)
	by, path := s.starter(id, after)
	require.NotNil(t, by)
	assert.Equal(t, s.owner, *by)
	assert.False(t, by.dead())
	err := s.replaceOld(t.Context(), id, after)
	assert.ErrorContains(t, err, "process "+s.owner.pid, "the owner is named")

	dead := s.owner
	dead.start = "1"
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, "%s\n%d\n", dead, bootTicks()-10), 0o600))
	by, _ = s.starter(id, after)
	require.NotNil(t, by)
	assert.True(t, by.dead())

	sweepMarks(filepath.Dir(path))
	assert.FileExists(t, path, "a young mark counts")
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, "%s\n%d\n", dead, bootTicks()-markLifetime-1), 0o600))
	sweepMarks(filepath.Dir(path))
	assert.NoFileExists(t, path)
	require.NoError(t, unmark(), "a mark that is gone needs no removing")
}
