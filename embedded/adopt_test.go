//go:build linux

package embedded_test

import (
	"syscall"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/embedded"
)

func TestDetachAndAdopt(t *testing.T) {
	root := t.TempDir()
	d := startDaemon(t, embedded.Options{Root: root})
	tr := tracesOf(t, d, root)
	ctx := testContext(t)
	task := runContainer(ctx, t, newClient(t, d), "a")
	pid := task.Pid()
	require.NoError(t, d.Detach())
	<-d.Done()
	require.NoError(t, d.Close(), "nothing is left to do for it")

	next := startDaemon(t, embedded.Options{Root: root})
	require.Equal(t, d.Address(), next.Address())
	requireRunning(ctx, t, newClient(t, next), "a", pid)
	require.NoError(t, next.Close())
	tr.requireNothingLeft(t)

	last := startDaemon(t, embedded.Options{Root: root})
	client := newClient(t, last)
	c, err := client.LoadContainer(ctx, "a")
	require.NoError(t, err, "the record stays in a root that is kept")
	_, err = c.Task(ctx, nil)
	require.True(t, errdefs.IsNotFound(err), "%v", err)
}

func TestKilledDaemonIsAdopted(t *testing.T) {
	root := t.TempDir()
	d := startDaemon(t, embedded.Options{Root: root})
	ctx := testContext(t)
	client := newClient(t, d)
	pid := runContainer(ctx, t, client, "a").Pid()
	require.NoError(t, syscall.Kill(d.PID(), syscall.SIGKILL))
	<-d.Done()

	next := startDaemon(t, embedded.Options{Root: root})
	require.Equal(t, d.Address(), next.Address())
	require.NoError(t, d.Close(), "the root belongs to the next daemon")
	task := requireRunning(ctx, t, client, "a", pid)
	exited, err := task.Wait(ctx)
	require.NoError(t, err)
	require.NoError(t, task.Kill(ctx, syscall.SIGKILL))
	status := <-exited
	code, _, err := status.Result()
	require.NoError(t, err)
	require.EqualValues(t, 128+syscall.SIGKILL, code)
	runContainer(ctx, t, client, "b")
}

func TestCloseAfterKill(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	d := startDaemon(t, embedded.Options{})
	tr := tracesOf(t, d, "")
	pid := runContainer(testContext(t), t, newClient(t, d), "a").Pid()
	require.NoError(t, syscall.Kill(d.PID(), syscall.SIGKILL))
	<-d.Done()
	require.NoError(t, d.Close())
	requireEnd(t, int(pid))
	tr.requireNothingLeft(t)
	assert.NoDirExists(t, tr.root)
}

func TestTerminatedDaemon(t *testing.T) {
	root := t.TempDir()
	d := startDaemon(t, embedded.Options{Root: root})
	tr := tracesOf(t, d, root)
	pid := runContainer(testContext(t), t, newClient(t, d), "a").Pid()
	require.NoError(t, syscall.Kill(d.PID(), syscall.SIGTERM))
	<-d.Done()
	require.NoError(t, syscall.Kill(int(pid), 0), "the container lives on in a root that is kept")
	require.NoError(t, d.Close())
	requireEnd(t, int(pid))
	tr.requireNothingLeft(t)
}

func TestParentKilled(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	helper := startHelper(t, "")
	tr := traces{root: helper.Root, state: helper.State}
	require.NoError(t, helper.cmd.Process.Kill())
	requireEnd(t, helper.PID)
	requireEnd(t, helper.TaskPID)
	tr.requireNothingLeft(t)
	assert.NoDirExists(t, tr.root)
}

func TestParentKilledKeepsRoot(t *testing.T) {
	root := t.TempDir()
	helper := startHelper(t, root)
	require.NoError(t, helper.cmd.Process.Kill())
	requireEnd(t, helper.PID)
	d := startDaemon(t, embedded.Options{Root: root})
	requireRunning(testContext(t), t, newClient(t, d), "a", uint32(helper.TaskPID))
}
