package containerd

import (
	"context"
	"testing"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func forced() *DeleteTaskOptions { return &DeleteTaskOptions{Force: true} }

func TestDeleteTaskWithoutATask(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	for _, id := range []string{"idle", "nobody"} {
		assertError(t, s.DeleteTask(t.Context(), id, forced()), "delete task", errdefs.IsNotFound, id)
	}
}

func TestDeleteTaskRefusesWhatHasNotStopped(t *testing.T) {
	for _, status := range []tasktypes.Status{running, paused, pausing} {
		d := newDaemon(t)
		d.addTask("idle", status)
		before := d.state()
		err := d.service().DeleteTask(t.Context(), "idle", nil)
		assertError(t, err, "delete task", errdefs.IsFailedPrecondition, status.String())
		assert.ErrorContains(t, err, statusName(status))
		assert.Equal(t, before, d.state(), status.String())
		assert.Equal(t, []string{"Tasks/Get"}, d.methods(), "nothing else is asked for")
	}
}

func TestDeleteTaskKillsACreatedTaskFirst(t *testing.T) {
	d := newDaemon(t)
	d.addTask("idle", created)
	require.NoError(t, d.service().DeleteTask(t.Context(), "idle", nil))
	d.assertStatus("idle", -1, "deleted")
	assert.Contains(t, d.methods(), "Tasks/Kill")
}

func TestDeleteTaskWithForce(t *testing.T) {
	for _, status := range []tasktypes.Status{created, running, paused, pausing, stopped} {
		t.Run(status.String(), func(t *testing.T) {
			d := newDaemon(t)
			p := d.addTask("idle", status)
			p.deaf = true
			require.NoError(t, d.service().DeleteTask(t.Context(), "idle", forced()))
			d.assertStatus("idle", -1, "deleted")
		})
	}
	t.Run("thaws what the kill does not reach", func(t *testing.T) {
		d := newDaemon(t)
		d.addTask("idle", paused).undead = true
		require.NoError(t, d.service().DeleteTask(t.Context(), "idle", forced()))
		assert.Contains(t, d.methods(), "Tasks/Resume")
	})
	t.Run("fails when it can not thaw", func(t *testing.T) {
		d := newDaemon(t)
		d.addTask("idle", paused).undead = true
		d.fail("Tasks/Resume", errdefs.ErrPermissionDenied)
		s := d.service()
		stopClock(s).run()
		err := s.DeleteTask(t.Context(), "idle", forced())
		assertError(t, err, "delete task", errdefs.IsPermissionDenied, "frozen")
		d.assertStatus("idle", int32(paused), "still there")
	})
	t.Run("does not mind that the kill is refused because the task has ended", func(t *testing.T) {
		d := newDaemon(t)
		d.on("Tasks/Kill", func(context.Context) error {
			d.change("web", func(p *taskState) { p.end(0) })
			return errdefs.ErrInternal
		})
		require.NoError(t, d.service().DeleteTask(t.Context(), "web", forced()))
		d.assertStatus("web", -1, "deleted")
	})
}

// afterKill runs change when the call looks at the task "web" again after it
// has killed it.
func afterKill(d *daemon, change func()) {
	d.on("Tasks/Kill", func(context.Context) error {
		d.once("Tasks/Get", func(context.Context) error {
			d.mu.Lock()
			defer d.mu.Unlock()
			change()
			return nil
		})
		return nil
	})
}

func TestDeleteTaskThatSomebodyElseDeletesMeanwhile(t *testing.T) {
	t.Run("is done", func(t *testing.T) {
		d := newDaemon(t)
		afterKill(d, func() { delete(d.taskStates, "web") })
		require.NoError(t, d.service().DeleteTask(t.Context(), "web", forced()))
		assert.NotContains(t, d.methods(), "Tasks/Delete")
	})
	t.Run("and replaces leaves the new one alone", func(t *testing.T) {
		d := newDaemon(t)
		afterKill(d, func() { d.addTask("web", running) })
		require.NoError(t, d.service().DeleteTask(t.Context(), "web", forced()))
		d.assertStatus("web", int32(running), "it is not the task that was to be deleted")
	})
	t.Run("between the look and the deletion is done", func(t *testing.T) {
		d := newDaemon(t)
		d.fail("Tasks/Delete", errdefs.ErrNotFound)
		require.NoError(t, d.service().DeleteTask(t.Context(), "done", nil))
	})
}

func TestDeleteTaskFinishesAnInterruptedDeletion(t *testing.T) {
	d := newDaemon(t)
	d.fail("Tasks/Get", errdefs.ErrNotFound) // only deletions see what is left
	require.NoError(t, d.service().DeleteTask(t.Context(), "done", nil))
	d.assertStatus("done", -1, "deleted")
}

func TestDeleteTaskThatCanNotLookChangesNothing(t *testing.T) {
	d := newDaemon(t)
	d.fail("Tasks/Get", errdefs.ErrUnavailable)
	err := d.service().DeleteTask(t.Context(), "done", forced())
	assertError(t, err, "delete task", errdefs.IsUnavailable, "look")
	assert.NotContains(t, d.methods(), "Tasks/Delete")
}

func TestDeleteTaskIsNotCutShortHalfWay(t *testing.T) {
	d := newDaemon(t)
	ctx, cancel := context.WithCancel(t.Context())
	d.on("Tasks/Delete", func(context.Context) error {
		cancel()
		return nil
	})
	require.NoError(t, d.service().DeleteTask(ctx, "done", nil), "the goal was reached")
	d.assertStatus("done", -1, "deleted")
}

func TestDeleteTaskWhoseContextEndsWhileItWaits(t *testing.T) {
	// Given a killed task that does not end,
	d := newDaemon(t)
	d.change("web", func(p *taskState) { p.undead = true })
	s := d.service()
	waited := d.arrivals("Tasks/Wait")
	ctx, cancel := context.WithCancel(t.Context())
	deleting := async(func() error { return s.DeleteTask(ctx, "web", forced()) })
	received(t, waited)
	// then another call on the same container has its turn,
	err := s.DeleteTask(t.Context(), "web", nil)
	assertError(t, err, "delete task", errdefs.IsFailedPrecondition, "meanwhile")
	// the end of the context ends the wait,
	cancel()
	require.ErrorIs(t, received(t, deleting), context.Canceled)
	d.assertStatus("web", int32(running), "not deleted")
	// and a retry deletes the task once it has ended.
	d.change("web", func(p *taskState) { p.end(137) })
	require.NoError(t, s.DeleteTask(t.Context(), "web", forced()))
}

func TestDeleteTaskHonoursItsContextWhileItWaitsForItsTurn(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	unlock, err := idLocks.lock(t.Context(), s.lockKey("done"))
	require.NoError(t, err)
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	deleting := async(func() error { return s.DeleteTask(ctx, "done", nil) })
	awaitTurn(t, s, "done", 2)
	cancel()
	require.ErrorIs(t, received(t, deleting), context.Canceled)
	assert.Empty(t, d.Calls())
}
