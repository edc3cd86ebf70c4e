package containerdtest_test

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdtest"
)

func TestCommandsThatKeepAContainerAlive(t *testing.T) {
	t.Parallel()
	w := newWorld(t, containerdtest.WithVirtualTime())
	for i, args := range [][]string{{"sleep", "infinity"}, {"sleep", "1e12"}, {"tail", "-f", "/dev/null"}, {"pause"}} {
		id := fmt.Sprint("c", i)
		task := w.start(id, args...)
		_, err := w.ExecTask(w.ctx, id, containerd.ExecTaskRequest{Args: []string{"sleep", "30d"}})
		require.NoError(t, err)
		assert.Equal(t, "RUNNING", w.status(id, ""), args)

		if args[0] != "pause" {
			e := w.exec(task, "e", args...)
			require.NoError(t, e.Kill(w.ctx, syscall.SIGTERM))
			assert.Equal(t, 143, e.code(), args)
		}
	}
}
