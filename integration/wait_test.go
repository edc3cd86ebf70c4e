package integration_test

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
)

// engine is the service with all its roles.
func (w *world) engine() containerd.Engine {
	w.Helper()
	engine, ok := w.Service.(containerd.Engine)
	require.True(w, ok)
	return engine
}

// needsCgroup skips a test that needs a container with a cgroup of its own.
func needsCgroup(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a rootless container has no cgroup")
	}
}

type waitAnswer struct {
	result containerd.WaitTaskResult
	err    error
}

// waiting begins to wait for a task, and returns when the wait has most likely begun.
func (w *world) waiting(id string) <-chan waitAnswer {
	w.Helper()
	engine := w.engine()
	done := make(chan waitAnswer, 1)
	go func() {
		r, err := engine.WaitTask(w.ctx, id, nil)
		done <- waitAnswer{r, err}
	}()
	_, err := w.Service.ExecTask(w.ctx, id, containerd.ExecTaskRequest{Args: []string{"true"}})
	require.NoError(w, err)
	return done
}

// keepsExitCodes says whether this machine's kernel tells the exit code of a
// process to whoever holds a pidfd of it: Linux 6.15 and later.
func keepsExitCodes(t *testing.T) bool {
	t.Helper()
	var name syscall.Utsname
	require.NoError(t, syscall.Uname(&name))
	var major, minor int
	fields := []*int{&major, &minor}
	for _, c := range name.Release {
		switch {
		case c == '.':
			fields = fields[1:]
		case c < '0' || c > '9':
			fields = nil
		}
		if len(fields) == 0 {
			break
		}
		if c != '.' {
			*fields[0] = *fields[0]*10 + int(c-'0')
		}
	}
	return major > 6 || major == 6 && minor >= 15
}

// containerd forgets tasks that end while it is away.
func TestWaitTaskThatEndsWhileTheDaemonIsAway(t *testing.T) {
	needsCgroup(t)
	known := keepsExitCodes(t)
	for what, test := range map[string]struct {
		args []string
		end  syscall.Signal
		want uint32
	}{
		"by itself":   {args: []string{"sh", "-c", "sleep 1.5; exit 42"}, want: 42},
		"by a signal": {args: []string{"sleep", "300"}, end: syscall.SIGKILL, want: 137},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w, d := restartable(t)
			id := w.start(test.args...)
			pid := int(w.task(id).GetPid())
			done := w.waiting(id)
			began := time.Now()
			d.kill()
			if test.end != 0 {
				require.NoError(t, syscall.Kill(pid, test.end))
			}
			require.Eventually(t, func() bool { return syscall.Kill(pid, 0) != nil }, 10*time.Second, 10*time.Millisecond)
			ended := time.Now()
			select {
			case a := <-done:
				require.Failf(t, "the lost connection was taken for an exit", "%+v", a)
			default:
			}
			d.start()

			a := received(w, done)

			if !known {
				require.ErrorIs(t, a.err, containerd.ErrExitUnknown)
				assert.True(t, errdefs.IsDataLoss(a.err))
				t.Log("the kernel does not keep exit codes: the exit is unknown")
				return
			}
			require.NoError(t, a.err)
			assert.Equal(t, test.want, a.result.ExitCode)
			assert.WithinRange(t, a.result.ExitedAt, began, ended.Add(scheduling))
			w.worksAgain()
			assert.Empty(t, w.status(id), "containerd has forgotten the task: if it no longer does, the fact has changed")
		})
	}
}

func TestWaitTaskOverManyRestarts(t *testing.T) {
	t.Parallel()
	w, d := restartable(t)
	id := w.start("sleep", "300")
	done := w.waiting(id)
	for range 3 {
		d.restart()
		w.worksAgain()
	}
	select {
	case a := <-done:
		require.Failf(t, "a restart was taken for an exit", "%+v", a)
	default:
	}
	w.kill(id)
	a := received(w, done)
	require.NoError(t, a.err)
	assert.EqualValues(t, 137, a.result.ExitCode)
	assert.False(t, a.result.OOMKilled)
}

// glutton is a program that uses up memory until it is killed.
const glutton = "s=0123456789abcdef; while true; do s=$s$s; done"

// startLimited starts a shell line under a memory limit.
func (w *world) startLimited(limit uint64, line string) string {
	w.Helper()
	req := w.request("sh", "-c", line)
	req.SpecOpts = append(req.SpecOpts, oci.WithMemoryLimit(limit))
	_, err := w.Service.CreateContainer(w.ctx, req)
	require.NoError(w, err)
	w.startTask(req.ID)
	return req.ID
}

func TestWaitTaskThatIsKilledForMemory(t *testing.T) {
	needsCgroup(t)
	t.Run("while it is waited for", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		id := w.startLimited(30<<20, glutton)
		r, err := w.engine().WaitTask(w.ctx, id, nil)
		require.NoError(t, err)
		assert.Equal(t, uint32(137), r.ExitCode)
		assert.True(t, r.OOMKilled)
		again, err := w.engine().WaitTask(w.ctx, id, nil)
		require.NoError(t, err)
		assert.Equal(t, r, again, "as long as the task is there, the answer is the same")
	})
	t.Run("unlike one that somebody killed", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		id := w.startLimited(30<<20, "sleep 300")
		done := w.waiting(id)
		w.kill(id)
		a := received(w, done)
		require.NoError(t, a.err)
		assert.Equal(t, uint32(137), a.result.ExitCode)
		assert.False(t, a.result.OOMKilled)
	})
	t.Run("unlike one that outlives its child", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		id := w.startLimited(30<<20, "sh -c '"+glutton+"'; exit 3")
		r, err := w.engine().WaitTask(w.ctx, id, nil)
		require.NoError(t, err)
		assert.Equal(t, uint32(3), r.ExitCode)
		assert.False(t, r.OOMKilled)
	})
}
