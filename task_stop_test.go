package containerd

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// arrivals delivers each further request of the method, which goes on.
func (d *daemon) arrivals(method string) <-chan struct{} {
	arrived := make(chan struct{}, 1000)
	d.on(method, func(context.Context) error {
		arrived <- struct{}{}
		return nil
	})
	return arrived
}

// statusOf returns a task's status, or -1 if there is no task.
func (d *daemon) statusOf(id string) (status, code int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.taskStates[id]
	if p == nil {
		return -1, 0
	}
	return int(p.Status), int(p.ExitStatus)
}

func (d *daemon) assertStatus(id string, status int32, why string) {
	d.t.Helper()
	got, _ := d.statusOf(id)
	assert.Equal(d.t, int(status), got, "status of %s: %s", id, why)
}

func assertWaiting(t *testing.T, done <-chan error, why string) {
	t.Helper()
	select {
	case err := <-done:
		require.Failf(t, "the call has ended", "%s: %v", why, err)
	default:
	}
}

// stopDeaf begins to stop the task "web", which ends only at SIGKILL or not
// even then, and returns when it was signalled.
func stopDeaf(t *testing.T, undead bool, opts *StopTaskOptions) (*daemon, *fakeClock, <-chan error) {
	t.Helper()
	d := newDaemon(t)
	d.change("web", func(p *taskState) { p.deaf, p.undead = true, undead })
	s := d.service()
	clock := stopClock(s)
	signalled, waited := d.arrivals("Tasks/Kill"), d.arrivals("Tasks/Wait")
	done := async(func() error { return s.StopTask(t.Context(), "web", opts) })
	received(t, signalled)
	received(t, waited)
	return d, clock, done
}

func TestStopTaskGivesUpAfterTenSecondsByDefault(t *testing.T) {
	d, clock, done := stopDeaf(t, false, nil)
	clock.await(t, 10*time.Second)
	clock.advance(10*time.Second - 1)
	assertWaiting(t, done, "a nanosecond is left")
	clock.advance(1)

	err := received(t, done)

	require.ErrorIs(t, err, ErrTaskStopTimeout)
	assertError(t, err, "stop task", errdefs.IsDeadlineExceeded, "class")
	assert.NotErrorIs(t, err, context.DeadlineExceeded, "the caller's context did not end")
	d.assertStatus("web", int32(running), "without Force the task goes on")
}

func TestStopTaskWithForceKillsAfterTheTimeout(t *testing.T) {
	t.Run("and returns when the task is gone", func(t *testing.T) {
		d, clock, done := stopDeaf(t, false, &StopTaskOptions{Timeout: 3 * time.Second, Force: true})
		clock.pass(t, 3*time.Second)
		require.NoError(t, received(t, done))
		_, code := d.statusOf("web")
		assert.Equal(t, 137, code)
	})
	t.Run("and waits 10 seconds more", func(t *testing.T) {
		d, clock, done := stopDeaf(t, true, &StopTaskOptions{Timeout: 3 * time.Second, Force: true})
		clock.pass(t, 3*time.Second)
		clock.await(t, 10*time.Second)
		assertWaiting(t, done, "a killed task gets time to be gone")
		clock.advance(10 * time.Second)
		assertError(t, received(t, done), "stop task", func(err error) bool { return errors.Is(err, ErrTaskStopTimeout) }, "undead")
		d.assertStatus("web", int32(running), "it can't be killed")
	})
	t.Run("but not what has ended or gone by then", func(t *testing.T) {
		for what, end := range map[string]func(d *daemon, p *taskState){
			"ended": func(_ *daemon, p *taskState) { p.end(0) },
			"gone":  func(d *daemon, p *taskState) { p.end(0); delete(d.taskStates, "web") },
		} {
			d, clock, done := stopDeaf(t, true, &StopTaskOptions{Timeout: 3 * time.Second, Force: true})
			d.once("Tasks/Get", func(context.Context) error {
				d.change("web", func(p *taskState) { end(d, p) })
				return nil
			})
			clock.pass(t, 3*time.Second)
			require.NoError(t, received(t, done), what)
			kills := slices.DeleteFunc(d.methods(), func(m string) bool { return m != "Tasks/Kill" })
			assert.Len(t, kills, 1, what)
		}
	})
	t.Run("and an unanswered look is no success", func(t *testing.T) {
		d, clock, done := stopDeaf(t, true, &StopTaskOptions{Timeout: 3 * time.Second, Force: true})
		d.fail("Tasks/Get", errdefs.ErrUnavailable)
		clock.pass(t, 3*time.Second)
		assertError(t, received(t, done), "stop task", errdefs.IsUnavailable, "lost")
	})
}

func TestStopTaskLooksAgainWhenTheTimeIsUp(t *testing.T) {
	d := newDaemon(t)
	d.change("web", func(p *taskState) { p.deaf = true })
	s := d.service()
	clock := stopClock(s)
	d.hang("Tasks/Wait")
	signalled := d.arrivals("Tasks/Kill")
	done := async(func() error { return s.StopTask(t.Context(), "web", &StopTaskOptions{Timeout: 3 * time.Second}) })
	received(t, signalled)
	d.change("web", func(p *taskState) { p.Status = stopped })

	clock.pass(t, 3*time.Second)

	require.NoError(t, received(t, done), "the answer of Wait is late, the task has stopped")
}

func TestStopTaskWithNegativeTimeoutWaitsUntilTheContextEnds(t *testing.T) {
	d := newDaemon(t)
	d.change("web", func(p *taskState) { p.deaf = true })
	s := d.service()
	clock := stopClock(s)
	signalled, waited := d.arrivals("Tasks/Kill"), d.arrivals("Tasks/Wait")
	ctx, cancel := context.WithCancel(t.Context())
	done := async(func() error {
		return s.StopTask(ctx, "web", &StopTaskOptions{Timeout: -1, Force: true})
	})
	received(t, signalled)
	received(t, waited)
	clock.advance(365 * 24 * time.Hour)
	assertWaiting(t, done, "no time of its own")
	cancel()

	err := received(t, done)

	require.ErrorIs(t, err, context.Canceled)
	assert.NotErrorIs(t, err, ErrTaskStopTimeout)
	d.assertStatus("web", int32(running), "Force acts after Timeout, not after the context")
}

// If the signal were sent before the exit is subscribed to, or the wait were
// sent after the signal's answer, a task that is reaped at once would be missed.
func TestStopTaskSubscribesBeforeTheSignalIsAnswered(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	waited := d.arrivals("Tasks/Wait")
	d.on("Tasks/Kill", func(ctx context.Context) error {
		select {
		case <-waited:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, s.StopTask(ctx, "web", &StopTaskOptions{Timeout: -1}))
	d.assertStatus("web", int32(stopped), "the signal arrived")
}

func TestStopTaskSendsTheRightSignal(t *testing.T) {
	for what, test := range map[string]struct {
		label  string
		signal syscall.Signal
		want   int
	}{
		"SIGTERM without a label":        {"", 0, 15},
		"the image's, by name":           {"SIGINT", 0, 2},
		"the image's, by number":         {"10", 0, 10},
		"a real-time one of the image's": {"RTMIN+3", 0, 37},
		"SIGTERM if the label is odd":    {"SIGNONSENSE", 0, 15},
		"SIGTERM if it is out of range":  {"65", 0, 15},
		"SIGTERM if it is zero":          {"0", 0, 15},
		"the option's before the label":  {"SIGINT", syscall.SIGHUP, 1},
		"the highest":                    {"", 64, 64},
	} {
		t.Run(what, func(t *testing.T) {
			d := newDaemon(t)
			d.stores.containers["web"].Labels = map[string]string{containerd.StopSignalLabel: test.label}
			require.NoError(t, d.service().StopTask(t.Context(), "web", &StopTaskOptions{Signal: test.signal}))
			_, code := d.statusOf("web")
			assert.Equal(t, 128+test.want, code)
		})
	}
}

func TestStopTaskRefusesSignalsThatDoNotExist(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	for _, sig := range []syscall.Signal{-1, 65} {
		err := s.StopTask(t.Context(), "web", &StopTaskOptions{Signal: sig})
		assertError(t, err, "stop task", errdefs.IsInvalidArgument, "signal %d", int(sig))
		assert.ErrorContains(t, err, "Signal")
	}
	assert.Empty(t, d.Calls())
}

func TestStopTaskWithoutAProcessToStop(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	require.NoError(t, s.StopTask(t.Context(), "done", nil), "already stopped")
	require.NoError(t, s.StopTask(t.Context(), "idle", nil), "no task")
	assert.NotContains(t, d.methods(), "Tasks/Kill")
	assertError(t, s.StopTask(t.Context(), "nobody", nil), "stop task", errdefs.IsNotFound, "no container")
}

func TestStopTaskKillsACreatedTask(t *testing.T) {
	d := newDaemon(t)
	d.addTask("idle", created).deaf = true
	require.NoError(t, d.service().StopTask(t.Context(), "idle", nil))
	status, code := d.statusOf("idle")
	assert.Equal(t, int(stopped), status)
	assert.Equal(t, 137, code)
}

// awaitTurn returns when n calls hold the lock of id or wait for it.
func awaitTurn(t *testing.T, s *DefaultService, id string, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		idLocks.mu.Lock()
		defer idLocks.mu.Unlock()
		k := idLocks.held[s.lockKey(id)]
		return k != nil && k.users == n
	}, patience, time.Millisecond)
}

func TestStopTaskLetsAStartOfThisProcessFinish(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	starting, release := make(chan struct{}), make(chan struct{})
	d.on("Tasks/Start", func(context.Context) error {
		close(starting)
		<-release
		return nil
	})
	// Given a start that has created its task,
	started := async(func() error {
		_, err := s.StartTask(t.Context(), "idle", nil)
		return err
	})
	received(t, starting)
	// when the task is stopped,
	stopping := async(func() error { return s.StopTask(t.Context(), "idle", nil) })
	awaitTurn(t, s, "idle", 2)
	assert.NotContains(t, d.methods(), "Tasks/Kill")
	close(release)
	// then the start succeeds, and the started task is sent its signal.
	require.NoError(t, received(t, started))
	require.NoError(t, received(t, stopping))
	_, code := d.statusOf("idle")
	assert.Equal(t, 143, code)
}

func TestStopTaskOfACreatedTaskHonoursItsContext(t *testing.T) {
	d := newDaemon(t)
	d.addTask("idle", created)
	s := d.service()
	unlock, err := idLocks.lock(t.Context(), s.lockKey("idle"))
	require.NoError(t, err)
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	stopping := async(func() error { return s.StopTask(ctx, "idle", nil) })
	awaitTurn(t, s, "idle", 2)
	cancel()
	require.ErrorIs(t, received(t, stopping), context.Canceled)
	d.assertStatus("idle", int32(created), "nothing was done yet")
}
