package containerdtest_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdtest"
)

// assertSkipped checks that something took less than the time that it would take
// if none was skipped.
func assertSkipped(t *testing.T, began time.Time, length time.Duration) {
	t.Helper()
	assert.Less(t, time.Since(began), length, "time was not skipped")
}

func exec(args ...string) containerd.ExecTaskRequest {
	return containerd.ExecTaskRequest{Args: args}
}

func TestStopTasksTimeoutIsSkipped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, containerdtest.WithVirtualTime())
	w.start("web", "sleep", "3600")
	began := time.Now()
	require.ErrorIs(t, w.StopTask(w.ctx, "web", nil), containerd.ErrTaskStopTimeout, "a first process ignores SIGTERM")
	assertSkipped(t, began, 10*time.Second)
	require.NoError(t, w.StopTask(w.ctx, "web", &containerd.StopTaskOptions{Force: true}))
	assertSkipped(t, began, 20*time.Second)
	assert.Equal(t, "STOPPED", w.status("web", ""))
}

func TestAProcessThatEndsInTimeIsNotKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, containerdtest.WithVirtualTime())
	ready := make(chan struct{})
	w.Handle(containerdtest.Command("app"), func(ctx context.Context, p *containerdtest.Proc) int {
		p.Trap(syscall.SIGTERM)
		close(ready)
		if _, err := p.NextSignal(ctx); err != nil {
			return 1
		}
		for range 9 { // cleans up for 9 of 10 seconds
			if err := p.Sleep(ctx, time.Second); err != nil {
				return 1
			}
		}
		return 7
	})
	task := w.start("web", "app")
	exit, err := task.Wait(w.ctx)
	require.NoError(t, err)
	received(t, ready)
	began := time.Now()
	require.NoError(t, w.StopTask(w.ctx, "web", &containerd.StopTaskOptions{Force: true}))
	assertSkipped(t, began, 9*time.Second)
	assert.Equal(t, 7, w.code(exit))
}

func TestASleepEndsAtOnceWhileSomebodyWaitsForIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, containerdtest.WithVirtualTime())
	task := w.start("web", "pause")
	began := time.Now()
	r, err := w.ExecTask(w.ctx, "web", exec("sh", "-c", "sleep 3600; sleep 7200; exit 3"))
	require.NoError(t, err)
	assert.EqualValues(t, 3, r.ExitCode)
	assertSkipped(t, began, 3*time.Hour)

	unwatched := w.exec(task, "e", "sleep", "3600")
	assertRuns(t, unwatched.exit, "no call of the library waits for it")
	_, err = w.ExecTask(w.ctx, "web", exec("sleep", "1800"))
	require.NoError(t, err)
	assertRuns(t, unwatched.exit, "only half of its time was skipped")
	_, err = w.ExecTask(w.ctx, "web", exec("sleep", "1801"))
	require.NoError(t, err)
	assert.Equal(t, 0, unwatched.code())
}

func TestWithoutVirtualTimeTimeIsReal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start("web", "pause")
	began := time.Now()
	_, err := w.ExecTask(w.ctx, "web", exec("sleep", "0.05"))
	require.NoError(t, err)
	assert.GreaterOrEqual(t, time.Since(began), 50*time.Millisecond)
}

func TestAdvanceRunsTimersInTheirOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	type wake struct {
		who string
		at  time.Duration
	}
	wakes := make(chan wake, 100)
	begin := make(chan struct{}, 2)
	w.Handle(containerdtest.Command("tick"), func(ctx context.Context, p *containerdtest.Proc) int {
		step, err := time.ParseDuration(p.Args[1])
		if err != nil {
			return 1
		}
		begin <- struct{}{}
		for at := step; at <= 10*time.Second; at += step {
			if p.Sleep(ctx, step) != nil {
				return 1
			}
			wakes <- wake{p.Args[1], at}
		}
		return 0
	})
	task := w.start("web", "pause")
	fast := w.exec(task, "fast", "tick", "1s")
	received(t, begin)
	slow := w.exec(task, "slow", "tick", "2500ms")
	received(t, begin)

	w.Advance(4 * time.Second)
	assert.Len(t, wakes, 5, "four of one and one of the other")
	w.Advance(7 * time.Second)
	assert.Equal(t, 0, fast.code())
	assert.Equal(t, 0, slow.code())
	require.Len(t, wakes, 14)
	var last time.Duration
	for range 14 {
		next := <-wakes
		assert.LessOrEqual(t, last, next.at, "%v", next)
		last = next.at
	}
}

func TestAdvanceEndsACallOfTheLibrary(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signalled := make(chan struct{}, 1)
	w.Handle(containerdtest.Command("app"), func(ctx context.Context, p *containerdtest.Proc) int {
		p.Trap(syscall.SIGTERM)
		signalled <- struct{}{}
		for {
			if _, err := p.NextSignal(ctx); err != nil {
				return 1
			}
			signalled <- struct{}{}
		}
	})
	w.start("web", "app")
	received(t, signalled)
	stopped := make(chan error, 1)
	go func() { stopped <- w.StopTask(w.ctx, "web", &containerd.StopTaskOptions{Timeout: time.Hour}) }()
	received(t, signalled)

	w.Advance(59 * time.Minute)
	select {
	case err := <-stopped:
		require.Fail(t, "it has given up", "%v", err)
	case <-time.After(10 * time.Millisecond):
	}
	w.Advance(2 * time.Minute)
	require.ErrorIs(t, received(t, stopped), containerd.ErrTaskStopTimeout)
}

func TestABusyHandlerHoldsTimeUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, containerdtest.WithVirtualTime())
	ready, working, work := make(chan struct{}), make(chan struct{}), make(chan struct{})
	w.Handle(containerdtest.Command("app"), func(ctx context.Context, p *containerdtest.Proc) int {
		p.Trap(syscall.SIGTERM)
		close(ready)
		if _, err := p.NextSignal(ctx); err != nil {
			return 1
		}
		close(working)
		<-work // the fake can't know what for
		return 0
	})
	w.start("web", "app")
	w.start("db", "sleep", "3600")
	received(t, ready)
	stopped := make(chan error, 1)
	go func() { stopped <- w.StopTask(w.ctx, "web", nil) }()
	received(t, working)
	select {
	case err := <-stopped:
		require.Fail(t, "it was not waited for", "%v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(work)
	require.NoError(t, received(t, stopped))
}

func TestTimeWaitsForBothContainers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, containerdtest.WithVirtualTime())
	var both sync.WaitGroup
	both.Add(2)
	rested := make(chan string, 2)
	w.Handle(containerdtest.Command("nap"), func(ctx context.Context, p *containerdtest.Proc) int {
		both.Done()
		both.Wait()
		times, err := strconv.Atoi(p.Args[1])
		length, parseErr := time.ParseDuration(p.Args[2])
		for range times {
			err = errors.Join(err, p.Sleep(ctx, length))
		}
		if errors.Join(err, parseErr) != nil {
			return 1
		}
		rested <- p.ContainerID
		return 0
	})
	w.start("web", "pause")
	w.start("db", "pause")
	ran := make(chan error, 2)
	run := func(id, times, length string) {
		r, err := w.ExecTask(w.ctx, id, exec("nap", times, length))
		if r.ExitCode != 0 {
			err = fmt.Errorf("exit code %d in %s", r.ExitCode, id)
		}
		ran <- err
	}
	began := time.Now()
	go run("web", "3", "60s")
	go run("db", "1", "2h")
	require.NoError(t, received(t, ran))
	require.NoError(t, received(t, ran))
	assert.Equal(t, "web", received(t, rested), "it has less to sleep")
	assert.Equal(t, "db", received(t, rested))
	assertSkipped(t, began, 2*time.Hour)
}

func TestTimeIsNotSkippedWhileAStreamHasSomethingToRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, containerdtest.WithVirtualTime())
	w.start("web", "pause")
	began := time.Now()
	for range 3 {
		r, err := w.ExecTask(w.ctx, "web", exec("sh", "-c", `zeros 1000000 | { sleep 60; wc -c; } | while read n; do exit $((n/100000)); done`))
		require.NoError(t, err)
		assert.EqualValues(t, 10, r.ExitCode)
	}
	assertSkipped(t, began, 3*time.Minute)
}

func TestAPausedTaskWaitsWhateverTimeItIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	slept := w.exec(task, "e", "sleep", "60")
	require.NoError(t, task.Pause(w.ctx))
	w.Advance(time.Hour)
	assertRuns(t, slept.exit, "it is frozen")
	require.NoError(t, task.Resume(w.ctx))
	assert.Equal(t, 0, slept.code())
}

func TestAPausedBusyProcessDoesNotHoldTimeUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, containerdtest.WithVirtualTime())
	w.start("busy", "sh", "-c", "while true; do true; done")
	w.start("web", "sleep", "7200")
	require.NoError(t, w.PauseTask(w.ctx, "busy", nil))
	began := time.Now()
	err := w.StopTask(w.ctx, "web", &containerd.StopTaskOptions{Signal: syscall.SIGURG, Timeout: time.Hour})
	require.ErrorIs(t, err, containerd.ErrTaskStopTimeout)
	assertSkipped(t, began, time.Hour)
}

func TestAnExitHasTheMachinesTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, containerdtest.WithVirtualTime())
	w.start("web", "sh", "-c", "sleep 3600; exit 3")
	r, err := w.WaitTask(w.ctx, "web", nil)
	require.NoError(t, err)
	assert.EqualValues(t, 3, r.ExitCode)
	assert.WithinDuration(t, time.Now(), r.ExitedAt, time.Minute)
}
