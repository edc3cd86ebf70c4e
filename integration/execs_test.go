package integration_test

import (
	"bytes"
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdtest/conformance"
)

// executor returns the service in its role.
func (w *world) executor() containerd.Executor {
	w.Helper()
	x, ok := w.Service.(containerd.Executor)
	require.True(w, ok, "the service is a containerd.Executor")
	return x
}

func (w *world) command(id, name string, args ...string) *containerd.Cmd {
	w.Helper()
	return containerd.Command(w.executor(), id, name, args...)
}

// needCgroup skips the test where containers have none.
func (w *world) needCgroup() {
	w.Helper()
	if why, lacks := w.Lacks[conformance.ProcessLists]; lacks {
		w.Skip(why)
	}
}

// hog is a shell line that takes more and more memory.
const hog = `s=0123456789abcdef; while true; do s=$s$s; done`

func TestExecThatIsKilledForMemorySaysSo(t *testing.T) {
	w := newWorld(t)
	w.needCgroup()
	req := w.request()
	req.SpecOpts = append(req.SpecOpts, oci.WithMemoryLimit(64<<20))
	_, err := w.Service.CreateContainer(w.ctx, req)
	require.NoError(t, err)
	w.startTask(req.ID)

	killed := func(how func(containerd.Exec) error) containerd.ExecExit {
		x, err := w.executor().StartExec(w.ctx, req.ID, containerd.StartExecRequest{Args: []string{"sleep", "300"}})
		require.NoError(t, err)
		require.NoError(t, how(x))
		exit, err := x.Wait(w.ctx)
		require.NoError(t, err)
		return exit
	}
	byOthers := func(x containerd.Exec) error { return syscall.Kill(int(x.PID()), syscall.SIGKILL) }
	exit := killed(byOthers)
	assert.Equal(t, syscall.SIGKILL, exit.Signal)
	assert.False(t, exit.OOMKilled, "killed before there was a want of memory")

	c := w.command(req.ID, "sh", "-c", hog)
	var failed *containerd.ExitError
	require.ErrorAs(t, c.Run(w.ctx), &failed)
	assert.EqualValues(t, 137, failed.Code)
	assert.True(t, failed.OOMKilled, "killed for memory")
	require.ErrorContains(t, failed, "out of memory")
	assert.Equal(t, "RUNNING", w.status(req.ID), "the container's own process lives on")

	assert.False(t, killed(byOthers).OOMKilled, "an earlier want of memory does not count")
	assert.False(t, killed(func(x containerd.Exec) error { return x.Signal(w.ctx, syscall.SIGKILL) }).OOMKilled)
	w.onlyInit(req.ID)
}

func TestAChildThatHoldsTheOutputDelaysAnExecBriefly(t *testing.T) {
	w := newWorld(t)
	id := w.start()
	for name, drain := range map[string]time.Duration{"by default": 0, "as asked for": 300 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			c := w.command(id, "sh", "-c", "echo out; hold 4; exit 7")
			c.WaitDelay = drain
			began := time.Now()
			out, err := c.Output(w.ctx)
			took := time.Since(began)
			var failed *containerd.ExitError
			require.ErrorAs(t, err, &failed)
			assert.EqualValues(t, 7, failed.Code)
			assert.Equal(t, "out\n", string(out))
			assert.True(t, failed.OutputCut)
			if drain == 0 {
				drain = 2 * time.Second
			}
			assert.GreaterOrEqual(t, took, drain)
			assert.Less(t, took, drain+pastDeadline+scheduling)
			// When the child has ended, nothing is left of it in the container.
			assert.Eventually(t, func() bool { return len(w.pids(id)) == 1 }, 20*time.Second, 20*time.Millisecond)
			assert.Eventually(t, func() bool { return w.exec(id, c.Exec.ID()) == nil }, 20*time.Second, 20*time.Millisecond)
		})
	}
	t.Run("or not at all", func(t *testing.T) {
		w := w.in(t)
		c := w.command(id, "sh", "-c", "echo out; hold 1")
		c.WaitDelay = -1
		began := time.Now()
		out, err := c.Output(w.ctx)
		require.NoError(t, err)
		assert.Equal(t, "out\n", string(out))
		assert.GreaterOrEqual(t, time.Since(began), time.Second, "until the output has ended")
		assert.False(t, c.Exit.OutputCut)
	})
}

func TestCommandThatIgnoresItsStopSignalIsKilledAfterItsGrace(t *testing.T) {
	w := newWorld(t)
	id := w.start()
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	c := w.command(id, "sigtrap", "TERM", "ignore")
	c.StopSignal, c.StopGrace = syscall.SIGTERM, 500*time.Millisecond
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start(ctx))
	ready := make([]byte, len("ready\n"))
	_, err = out.Read(ready)
	require.NoError(t, err)
	cancel()
	began := time.Now()
	var rest bytes.Buffer
	_, err = rest.ReadFrom(out)
	require.NoError(t, err)
	assert.Equal(t, "SIGTERM\n", rest.String(), "what it wrote while it had time")
	err = c.Wait()
	took := time.Since(began)
	require.ErrorIs(t, err, context.Canceled)
	assert.EqualValues(t, 137, c.Exit.Code)
	assert.GreaterOrEqual(t, took, c.StopGrace)
	assert.Less(t, took, c.StopGrace+pastDeadline+scheduling)
	w.onlyInit(id)
}

func TestExecOfAnotherProcessIsFoundAndRemoved(t *testing.T) {
	w := newWorld(t)
	w.needCgroup()
	call := w.call("start exec")
	call.ID, call.ExecID, call.Args = w.start(), "job", []string{"sleep", "300"}
	h := startHelper(t, call)
	assert.Empty(t, h.result(t).Err)
	list, err := w.executor().ListExecs(w.ctx, call.ID, nil)
	require.NoError(t, err)
	require.Len(t, list, 1, "it goes on without the process that started it")
	assert.Equal(t, "job", list[0].ID)
	x, err := w.executor().OpenExec(w.ctx, call.ID, "job")
	require.NoError(t, err)
	assert.Equal(t, list[0].PID, x.PID())
	require.NoError(t, x.Signal(w.ctx, syscall.SIGTERM))
	exit, err := x.Wait(w.ctx)
	require.NoError(t, err)
	assert.Equal(t, syscall.SIGTERM, exit.Signal)
	require.NoError(t, x.Remove(w.ctx))
	w.onlyInit(call.ID)
}

// What a killed process leaves of a command can be found, and removed.
func TestCommandOfAKilledProcessIsFoundAndRemoved(t *testing.T) {
	w := newWorld(t)
	w.needCgroup()
	call := w.call("run command")
	call.ID, call.Args = w.start(), []string{"sleep", "300"}
	h := startHelper(t, call)
	var list []containerd.ExecInfo
	require.Eventually(t, func() bool {
		var err error
		list, err = w.executor().ListExecs(w.ctx, call.ID, nil)
		return err == nil && len(list) == 1
	}, 20*time.Second, 10*time.Millisecond)
	h.kill(t)
	x, err := w.executor().OpenExec(w.ctx, call.ID, list[0].ID)
	require.NoError(t, err)
	require.NoError(t, x.Remove(w.ctx))
	w.onlyInit(call.ID)
	// Its FIFOs are swept by the next process that needs some.
	assert.Len(t, owned(fifoDirs, h.owner), 1)
	next := w.call("run command")
	next.ID, next.Args = call.ID, []string{"true"}
	assert.Empty(t, startHelper(t, next).result(t).Err)
	assert.Empty(t, owned(fifoDirs, h.owner))
}

func TestTerminalOfAnExecHasTheSizeThatIsAskedFor(t *testing.T) {
	w := newWorld(t)
	w.needCgroup() // as root, the terminal can be looked at from outside
	id := w.start()
	x, err := w.executor().StartExec(w.ctx, id, containerd.StartExecRequest{
		Args: []string{"sleep", "300"}, Terminal: true, Width: 100, Height: 30,
	})
	require.NoError(t, err)
	assert.Equal(t, "100x30", terminalSize(t, x.PID()))
	require.NoError(t, x.Resize(w.ctx, 120, 40))
	assert.Equal(t, "120x40", terminalSize(t, x.PID()))
	require.NoError(t, x.Remove(w.ctx))
}

func TestExecSurvivesARestartOfTheDaemon(t *testing.T) {
	b, d := privateDaemon(t)
	w := worldOn(t, b)
	id := w.start()
	var out bytes.Buffer
	x, err := w.executor().StartExec(w.ctx, id, containerd.StartExecRequest{Args: []string{"sigtrap", "TERM", "3"}, Stdout: &out})
	require.NoError(t, err)
	d.restart()
	require.NoError(t, x.Signal(w.ctx, syscall.SIGTERM))
	exit, err := x.Wait(w.ctx)
	require.NoError(t, err)
	assert.EqualValues(t, 3, exit.Code)
	assert.Equal(t, "ready\nSIGTERM\n", out.String())
	assert.Nil(t, w.exec(id, x.ID()))
}
