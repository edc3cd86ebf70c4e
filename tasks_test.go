package containerd

import (
	"context"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGetTask(t *testing.T) {
	t.Run("returns a task in any state", func(t *testing.T) {
		d := newDaemon(t)
		for _, id := range []string{"web", "done"} {
			task, err := d.service().GetTask(t.Context(), id)
			require.NoError(t, err)
			assert.Equal(t, id, task.ID())
		}
	})
	t.Run("of a container without one is not found", func(t *testing.T) {
		d := newDaemon(t)
		_, err := d.service().GetTask(t.Context(), "idle")
		assertError(t, err, "get task", errdefs.IsNotFound, "no task")
	})
	t.Run("whose shim is silent is unavailable", func(t *testing.T) {
		d := newDaemon(t)
		d.fail("Tasks/Get", context.DeadlineExceeded)
		_, err := d.service().GetTask(t.Context(), "web")
		assertError(t, err, "get task", errdefs.IsUnavailable, "silent shim")
		assert.NotErrorIs(t, err, context.DeadlineExceeded, "the caller's context did not end")
	})
}

func TestStopTaskWhenTheSignalIsRefused(t *testing.T) {
	t.Run("not found waits for the exit that is about to be seen", func(t *testing.T) {
		d := newDaemon(t)
		signalled := make(chan struct{}, 1)
		d.on("Tasks/Kill", func(context.Context) error {
			signalled <- struct{}{}
			return errdefs.ErrNotFound
		})
		s := d.service()
		stopping := async(func() error { return s.StopTask(t.Context(), "web", &StopTaskOptions{Timeout: -1}) })
		received(t, signalled)
		assertWaiting(t, stopping, "the process was not seen to be gone")
		d.change("web", func(p *taskState) { p.end(0) })
		require.NoError(t, received(t, stopping))
	})
	t.Run("is success if the task has ended meanwhile", func(t *testing.T) {
		d := newDaemon(t)
		d.on("Tasks/Kill", func(context.Context) error {
			d.change("web", func(p *taskState) { p.end(0) })
			return errdefs.ErrFailedPrecondition
		})
		require.NoError(t, d.service().StopTask(t.Context(), "web", nil))
	})
	t.Run("is success if the task is gone", func(t *testing.T) {
		d := newDaemon(t)
		d.on("Tasks/Kill", func(context.Context) error {
			d.change("web", func(p *taskState) { p.end(0); delete(d.taskStates, "web") })
			return errdefs.ErrInternal
		})
		require.NoError(t, d.service().StopTask(t.Context(), "web", nil))
	})
	t.Run("keeps its class if the task runs on", func(t *testing.T) {
		d := newDaemon(t)
		d.fail("Tasks/Kill", errdefs.ErrPermissionDenied)
		assertError(t, d.service().StopTask(t.Context(), "web", nil), "stop task", errdefs.IsPermissionDenied, "refused")
	})
	t.Run("is an error if nobody can tell", func(t *testing.T) {
		d := newDaemon(t)
		d.on("Tasks/Kill", func(context.Context) error {
			d.fail("Tasks/Get", errdefs.ErrPermissionDenied)
			return errdefs.ErrUnavailable
		})
		assertError(t, d.service().StopTask(t.Context(), "web", nil), "stop task", errdefs.IsUnavailable, "lost")
	})
}

func TestStopTaskResumesAPausedTask(t *testing.T) {
	d := newDaemon(t)
	d.addTask("idle", paused)
	require.NoError(t, d.service().StopTask(t.Context(), "idle", nil))
	_, code := d.statusOf("idle")
	assert.Equal(t, 143, code, "the signal arrived when it was resumed")
}

// stopPausing begins to stop a task that is pausing, and returns when the
// call is about to try again.
func stopPausing(t *testing.T) (*daemon, *fakeClock, <-chan error) {
	t.Helper()
	d := newDaemon(t)
	d.addTask("idle", pausing).deaf = true
	s := d.service()
	clock := stopClock(s)
	stopping := async(func() error { return s.StopTask(t.Context(), "idle", nil) })
	clock.await(t, waitPause)
	return d, clock, stopping
}

func TestStopTaskResumesAPausingTaskAsSoonAsItCan(t *testing.T) {
	d, clock, stopping := stopPausing(t)
	d.change("idle", func(p *taskState) { p.Status = paused })
	clock.advance(waitPause)
	require.NoError(t, received(t, stopping))
	_, code := d.statusOf("idle")
	assert.Equal(t, 143, code)
}

func TestStopTaskLeavesAPausingTaskThatRunsAgainAlone(t *testing.T) {
	d, clock, stopping := stopPausing(t)
	d.change("idle", func(p *taskState) { p.Status = running })
	clock.advance(waitPause)
	assertWaiting(t, stopping, "it runs")
	d.change("idle", func(p *taskState) { p.end(0) })
	require.NoError(t, received(t, stopping))
}

func TestStopTaskWhoseTaskStaysPausingTimesOut(t *testing.T) {
	_, clock, stopping := stopPausing(t)
	clock.advance(10 * time.Second)
	clock.run()
	require.ErrorIs(t, received(t, stopping), ErrTaskStopTimeout)
}

func TestStopTaskThatWaitsToResumeHonoursItsContext(t *testing.T) {
	d := newDaemon(t)
	d.addTask("idle", pausing).deaf = true
	s := d.service()
	clock := stopClock(s)
	ctx, cancel := context.WithCancel(t.Context())
	stopping := async(func() error { return s.StopTask(ctx, "idle", nil) })
	clock.await(t, waitPause)
	cancel()
	require.ErrorIs(t, received(t, stopping), context.Canceled)
}

func TestStopTaskThatCanNotResume(t *testing.T) {
	refuse := func(*daemon, int) {}
	end := func(d *daemon) { d.change("idle", func(p *taskState) { p.end(0) }) }
	for what, test := range map[string]struct {
		meanwhile func(d *daemon, refused int)
		class     func(error) bool // nil: no error
		tries     int
	}{
		"because it is refused":      {refuse, errdefs.IsPermissionDenied, waitFailures},
		"and can not look":           {func(d *daemon, _ int) { d.fail("Tasks/Get", errdefs.ErrUnavailable) }, errdefs.IsPermissionDenied, 1},
		"because the task has ended": {func(d *daemon, _ int) { end(d) }, nil, 1},
		"because the task is gone": {func(d *daemon, _ int) {
			d.change("idle", func(p *taskState) { p.end(0); delete(d.taskStates, "idle") })
		}, nil, 1},
		"because it was killed, which its shim notices later": {func(d *daemon, refused int) {
			if refused == 3 {
				end(d)
			}
		}, nil, 3},
	} {
		t.Run(what, func(t *testing.T) {
			d := newDaemon(t)
			d.addTask("idle", paused)
			refused := 0
			d.on("Tasks/Resume", func(context.Context) error {
				refused++
				test.meanwhile(d, refused)
				return errdefs.ErrPermissionDenied
			})
			s := d.service()
			stopClock(s).run()

			err := s.StopTask(t.Context(), "idle", &StopTaskOptions{Timeout: -1})

			assert.Equal(t, test.tries, d.count("Tasks/Resume"))
			if test.class == nil {
				require.NoError(t, err)
				return
			}
			assertError(t, err, "stop task", test.class, what)
		})
	}
}

func TestLostConnectionIsNeverTakenForStopped(t *testing.T) {
	t.Run("the wait goes on when the daemon is back", func(t *testing.T) {
		d := newDaemon(t)
		d.change("web", func(p *taskState) { p.deaf = true })
		s := d.service()
		waits := make(chan int, 10)
		lost := make(chan struct{})
		var n int
		d.on("Tasks/Wait", func(context.Context) error {
			n++
			waits <- n
			if n == 1 {
				<-lost
				return errdefs.ErrUnavailable
			}
			return nil
		})
		stopping := async(func() error { return s.StopTask(t.Context(), "web", &StopTaskOptions{Timeout: -1}) })
		require.Equal(t, 1, received(t, waits))
		close(lost)
		require.Equal(t, 2, received(t, waits))
		assertWaiting(t, stopping, "the task runs")
		d.change("web", func(p *taskState) { p.end(0) })
		require.NoError(t, received(t, stopping))
	})
	t.Run("a kill without an answer is no deletion", func(t *testing.T) {
		d := newDaemon(t)
		d.fail("Tasks/Kill", errdefs.ErrUnavailable)
		err := d.service().DeleteTask(t.Context(), "web", &DeleteTaskOptions{Force: true})
		assertError(t, err, "delete task", errdefs.IsUnavailable, "kill")
		d.assertStatus("web", int32(running), "it was not reached")
	})
	t.Run("a deletion without an answer is none", func(t *testing.T) {
		for name, fault := range map[string]func(*daemon, string, error){
			"refused": (*daemon).fail, "lost": (*daemon).answer,
		} {
			d := newDaemon(t)
			fault(d, "Tasks/Delete", errdefs.ErrUnavailable)
			err := d.service().DeleteTask(t.Context(), "done", nil)
			assertError(t, err, "delete task", errdefs.IsUnavailable, name)
		}
	})
}

func TestStopTaskReturnsAtOnceWhenItsContextEnds(t *testing.T) {
	d := newDaemon(t)
	d.change("web", func(p *taskState) { p.deaf = true })
	s := d.service()
	stopClock(s)
	waited := d.arrivals("Tasks/Wait")
	ctx, cancel := context.WithCancel(t.Context())
	stopping := async(func() error { return s.StopTask(ctx, "web", &StopTaskOptions{Force: true}) })
	received(t, waited)
	cancel()
	err := received(t, stopping)
	assertError(t, err, "stop task", isContextError, "cancelled")
	d.assertStatus("web", int32(running), "its time was not up")
}
