package containerdtest_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/containerdtest"
)

// assertRuns checks that a process goes on, after the time that a kill takes.
func assertRuns(t *testing.T, exit <-chan client.ExitStatus, why string) {
	t.Helper()
	select {
	case status := <-exit:
		assert.Failf(t, "the process has ended", "%s: %v", why, status)
	case <-time.After(20 * time.Millisecond):
	}
}

func TestAFirstProcessIgnoresSignalsThatItDoesNotHandle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "sleep", "3600")
	exit, err := task.Wait(w.ctx)
	require.NoError(t, err)

	for _, sig := range []syscall.Signal{0, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGSEGV, syscall.SIGUSR1} {
		require.NoError(t, task.Kill(w.ctx, sig))
	}
	assertRuns(t, exit, "it is PID 1 of its namespace")
	require.NoError(t, task.Kill(w.ctx, syscall.SIGKILL))
	assert.Equal(t, 137, w.code(exit))
	assert.True(t, errdefs.IsNotFound(task.Kill(w.ctx, syscall.SIGTERM)), "process already finished")
	require.NoError(t, task.Kill(w.ctx, syscall.SIGKILL, client.WithKillAll), "with all it is no error")
}

func TestSignalsEndAnExecThatDoesNotHandleThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	for sig, code := range map[syscall.Signal]int{
		syscall.SIGHUP: 129, syscall.SIGINT: 130, syscall.SIGTERM: 143, syscall.SIGUSR1: 138, syscall.SIGKILL: 137,
	} {
		p := w.exec(task, fmt.Sprint("e", int(sig)), "sleep", "3600")
		require.NoError(t, p.Kill(w.ctx, syscall.SIGCHLD))
		require.NoError(t, p.Kill(w.ctx, syscall.SIGWINCH))
		require.NoError(t, p.Kill(w.ctx, sig))
		assert.Equal(t, code, p.code(), "%v", sig)
	}
}

func TestTrappedSignalsArriveInTheirOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ready := make(chan struct{})
	w.Handle(containerdtest.Command("app"), func(ctx context.Context, p *containerdtest.Proc) int {
		p.Trap(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1)
		close(ready)
		for {
			sig, err := p.NextSignal(ctx)
			if err != nil {
				return 1
			}
			fmt.Fprintln(p.Stdout, sig)
			if sig == syscall.SIGTERM {
				return 5
			}
		}
	})
	r := w.attach(w.create("web", "app"))
	received(t, ready)
	for _, sig := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGHUP, syscall.SIGUSR2, syscall.SIGUSR1, syscall.SIGTERM} {
		require.NoError(t, r.Kill(w.ctx, sig))
	}
	assert.Equal(t, 5, r.code())
	assert.Equal(t, "user defined signal 1\nhangup\nuser defined signal 1\nterminated\n", r.out.String())
}

func TestAKillTakesAMoment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := 0; ; i++ { // on a busy machine the moment may be over
		task := w.start(fmt.Sprint("c", i), "sleep", "3600")
		exit, err := task.Wait(w.ctx)
		require.NoError(t, err)
		before := time.Now()
		require.NoError(t, task.Kill(w.ctx, syscall.SIGKILL))
		_, deleteErr := task.Delete(w.ctx)
		atOnce := time.Since(before) < 9*time.Millisecond

		status := received(t, exit)
		code, at, err := status.Result()
		require.NoError(t, err)
		assert.EqualValues(t, 137, code)
		assert.WithinRange(t, at, before, time.Now())
		if !atOnce {
			continue
		}
		require.ErrorContains(t, deleteErr, "task must be stopped before deletion: running")
		assert.True(t, errdefs.IsFailedPrecondition(deleteErr))
		deleted, err := task.Delete(w.ctx)
		require.NoError(t, err)
		assert.EqualValues(t, 137, deleted.ExitCode())
		return
	}
}

func TestTheEndOfTheFirstProcessIsThatOfAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	childEnded := make(chan struct{})
	w.Handle(containerdtest.Command("child"), func(ctx context.Context, p *containerdtest.Proc) int {
		fmt.Fprintln(p.Stdout, "child runs")
		<-ctx.Done()
		close(childEnded)
		return 0
	})
	task := w.start("web", "pause")
	sleep, shell := w.exec(task, "e1", "sleep", "3600"), w.exec(task, "e2", "sh", "-c", "child; echo no")
	shell.out.await(t, "child runs")
	unstarted, err := task.Exec(w.ctx, "e3", w.process(task, "true"), cio.NullIO)
	require.NoError(t, err)

	require.NoError(t, task.Kill(w.ctx, syscall.SIGTERM))
	assert.Equal(t, 0, w.await(task), "it handles SIGTERM")
	assert.Equal(t, 137, sleep.code())
	assert.Equal(t, 137, shell.code())
	received(t, childEnded)
	assert.Equal(t, "child runs\n", shell.out.String())
	err = unstarted.Start(w.ctx)
	require.ErrorContains(t, err, "container web init process is not running")
	assert.True(t, errdefs.IsFailedPrecondition(err))
}

func TestKillAllKillsExecsOnlyByTheFirstProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "sleep", "3600")
	e := w.exec(task, "e", "sleep", "3600")

	require.NoError(t, task.Kill(w.ctx, syscall.SIGTERM, client.WithKillAll))
	assertRuns(t, e.exit, "runc ignores --all")
	require.NoError(t, task.Kill(w.ctx, syscall.SIGKILL, client.WithKillAll))
	assert.Equal(t, 137, w.await(task))
	assert.Equal(t, 137, e.code())
}

func TestSignalsToAPausedTaskAreHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	exit, err := task.Wait(w.ctx)
	require.NoError(t, err)
	e := w.exec(task, "e", "sleep", "3600")
	require.NoError(t, task.Pause(w.ctx))
	assert.Equal(t, "PAUSED", w.status("web", ""))
	assert.Equal(t, "PAUSED", w.status("web", "e"))

	require.NoError(t, e.Kill(w.ctx, syscall.SIGKILL))
	assertRuns(t, e.exit, "it is frozen")
	require.NoError(t, task.Resume(w.ctx))
	assert.Equal(t, 137, e.code())

	require.NoError(t, task.Pause(w.ctx))
	require.NoError(t, task.Kill(w.ctx, syscall.SIGTERM))
	assertRuns(t, exit, "it is frozen")
	require.NoError(t, task.Kill(w.ctx, syscall.SIGKILL))
	assert.Equal(t, 137, w.code(exit), "SIGKILL thaws the task, and is faster than what was held")
	assert.Equal(t, "STOPPED", w.status("web", ""))
}

func TestNothingOfAPausedTaskGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	step, stepped := make(chan struct{}), make(chan struct{}, 10)
	w.Handle(containerdtest.Command("app"), func(_ context.Context, p *containerdtest.Proc) int {
		for range step {
			fmt.Fprintln(p.Stdout, "line")
			stepped <- struct{}{}
		}
		return 4
	})
	r := w.attach(w.create("web", "app"))
	task, err := w.mustLoad("web").Task(w.ctx, nil)
	require.NoError(t, err)
	step <- struct{}{}
	received(t, stepped)
	r.out.await(t, "line\n")

	require.NoError(t, task.Pause(w.ctx))
	step <- struct{}{}
	close(step)
	assertRuns(t, r.exit, "not even a handler that has nothing left to do ends")
	assert.Equal(t, "line\n", r.out.String())
	require.NoError(t, task.Resume(w.ctx))
	assert.Equal(t, 4, r.code())
	assert.Equal(t, "line\nline\n", r.out.String())
}

func TestAHandlersContextEndsWhenItIsKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	errs := make(chan error, 4)
	w.Handle(containerdtest.Command("app"), func(ctx context.Context, p *containerdtest.Proc) int {
		p.Trap(syscall.SIGUSR1)
		errs <- nil
		_, err := p.NextSignal(ctx)
		errs <- err
		errs <- p.Sleep(ctx, time.Hour)
		errs <- ctx.Err()
		return 0
	})
	task := w.start("web", "pause")
	e := w.exec(task, "e", "app")
	require.NoError(t, received(t, errs))
	require.NoError(t, e.Kill(w.ctx, syscall.SIGINT))
	for range 3 {
		require.ErrorIs(t, received(t, errs), context.Canceled)
	}
	assert.Equal(t, 130, e.code())
}

func TestBuiltInCommandsSendSignals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	r := w.exec(task, "e", "sigtrap", "USR1", "7")
	r.out.await(t, "ready\n")

	_, stderr, code := w.sh(task, "kill -USR1 2; kill 99")
	assert.Equal(t, 1, code)
	assert.Equal(t, "kill: no such process\n", stderr)
	assert.Equal(t, 7, r.code())
	assert.Equal(t, "ready\nSIGUSR1\n", r.out.String())
	w.exec(task, "last", "kill", "1").code()
	assert.Equal(t, 0, w.await(task))
}
