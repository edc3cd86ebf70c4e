package containerd

import (
	"context"
	"slices"
	"testing"

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
)

const opDeleteContainer = "delete container"

// record returns a copy of a stored record, or nil.
func (d *daemon) record(id string) *containersapi.Container {
	d.mu.Lock()
	defer d.mu.Unlock()
	return proto.CloneOf(d.stores.containers[id])
}

// snapshot returns a copy of a stored snapshot, or nil.
func (d *daemon) snapshot(key string) *snapshotsapi.Info {
	d.mu.Lock()
	defer d.mu.Unlock()
	return proto.CloneOf(d.stores.snapshots[testSnapshotter+" "+key])
}

// startElsewhere is another program that starts a task, as the request
// about to take effect is on its way.
func (d *daemon) startElsewhere(id string) func(context.Context) error {
	return func(context.Context) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.addTask(id, running)
		return nil
	}
}

func TestDeleteContainerWritesTheRecordBackWhenATaskAppears(t *testing.T) {
	for name, opts := range map[string]*DeleteContainerOptions{"removing": nil, "keeping the snapshot": {}} {
		t.Run(name, func(t *testing.T) {
			// Given a container with a label,
			d := newDaemon(t)
			s := d.service()
			d.stores.containers["idle"].Labels = map[string]string{"a": "b"}
			before := d.record("idle")
			// when another program starts a task between the check and the deletion,
			d.once("Containers/Delete", d.startElsewhere("idle"))
			err := s.DeleteContainer(t.Context(), "idle", opts)
			// then the record is as it was, and so are snapshot and task.
			assertError(t, err, opDeleteContainer, errdefs.IsFailedPrecondition, "a task appeared")
			after := d.record("idle")
			require.NotNil(t, after)
			assert.Equal(t, before.GetLabels(), after.GetLabels())
			assert.Equal(t, before.GetSnapshotKey(), after.GetSnapshotKey())
			assert.Equal(t, before.GetSnapshotter(), after.GetSnapshotter())
			assert.Equal(t, before.GetImage(), after.GetImage())
			assert.Equal(t, before.GetRuntime().GetName(), after.GetRuntime().GetName())
			assert.Equal(t, before.GetSpec().GetValue(), after.GetSpec().GetValue())
			assert.NotNil(t, d.snapshot("idle"))
			assert.Contains(t, d.state(), "task idle RUNNING", "the task is not killed")
		})
	}
}

func TestDeleteContainerSaysWhenTheRecordCouldNotBeWrittenBack(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	d.once("Containers/Delete", d.startElsewhere("idle"))
	d.fail("Containers/Create", errdefs.ErrUnavailable)

	err := s.DeleteContainer(t.Context(), "idle", nil)

	assertError(t, err, opDeleteContainer, errdefs.IsFailedPrecondition, "a task appeared")
	assert.Contains(t, err.Error(), "could not be written back")
	assert.Contains(t, err.Error(), "unavailable", "the reason")
	assert.NotNil(t, d.snapshot("idle"), "the task runs on it")
}

func TestDeleteContainerAcceptsThatSomebodyElseWroteTheRecordBack(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	d.once("Containers/Delete", d.startElsewhere("idle"))
	d.fail("Containers/Create", errdefs.ErrAlreadyExists)

	err := s.DeleteContainer(t.Context(), "idle", nil)

	assertError(t, err, opDeleteContainer, errdefs.IsFailedPrecondition, "a task appeared")
	assert.NotContains(t, err.Error(), "written back")
}

func TestDeleteContainerIsNotCutShortByItsContext(t *testing.T) {
	// Given a daemon that is about to delete the record
	d := newDaemon(t)
	s := d.service()
	ctx, cancel := context.WithCancel(t.Context())
	// when the caller's context ends,
	d.once("Containers/Delete", endedMeanwhile(t, cancel))

	err := s.DeleteContainer(ctx, "idle", nil)

	// then the call knows what came of it, and everything is gone.
	require.NoError(t, err)
	assert.Nil(t, d.record("idle"))
	assert.Nil(t, d.snapshot("idle"))
}

func TestDeleteContainerWhoseContextEndsBeforeDeletesNothing(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	before := d.state()
	ctx, cancel := context.WithCancel(t.Context())
	d.once("Tasks/Get", func(context.Context) error { cancel(); return nil })

	err := s.DeleteContainer(ctx, "idle", nil)

	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, before, d.state())
}

func TestDeleteContainerKeepsASnapshotThatAnotherContainerUses(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	d.addContainer("other", "idle")

	require.NoError(t, s.DeleteContainer(t.Context(), "idle", nil))

	assert.Nil(t, d.record("idle"))
	assert.NotNil(t, d.snapshot("idle"))
}

func TestDeleteContainerKillsACreatedTaskOutsideTheLock(t *testing.T) {
	// Given a created task that takes its time to die,
	d := newDaemon(t)
	s := d.service()
	d.addTask("idle", created).undead = true
	killed := make(chan struct{}, 1)
	d.on("Tasks/Kill", func(context.Context) error { killed <- struct{}{}; return nil })
	// when the container is deleted,
	done := async(func() error { return s.DeleteContainer(t.Context(), "idle", nil) })
	received(t, killed)
	// then others get their turn while it is awaited,
	unlock, err := s.lockID(t.Context(), "idle")
	require.NoError(t, err)
	unlock()
	assert.NotNil(t, d.record("idle"), "nothing is deleted before the task has ended")
	// and task, container and snapshot are gone at the end.
	d.change("idle", func(p *taskState) { p.end(137) })
	require.NoError(t, received(t, done))
	assert.False(t, slices.ContainsFunc(d.state(), func(line string) bool {
		return line == "task idle STOPPED" || line == "snapshot "+testSnapshotter+" idle ACTIVE"
	}), "%v", d.state())
	assert.Nil(t, d.record("idle"))
}

func TestDeleteContainerLooksAgainAfterItKilledACreatedTask(t *testing.T) {
	// Given a created task in whose place another program starts a new one
	// when it has been killed,
	d := newDaemon(t)
	s := d.service()
	d.addTask("idle", created)
	d.after["Tasks/Wait"] = func() error { return d.startElsewhere("idle")(t.Context()) }

	err := s.DeleteContainer(t.Context(), "idle", nil)

	assertError(t, err, opDeleteContainer, errdefs.IsFailedPrecondition, "the new task runs")
	assert.Contains(t, d.state(), "task idle RUNNING")
	assert.NotNil(t, d.record("idle"))
}

func TestDeleteContainerFailsWithTheKillOfACreatedTask(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	d.addTask("idle", created)
	d.fail("Tasks/Kill", errdefs.ErrPermissionDenied)
	before := d.state()

	err := s.DeleteContainer(t.Context(), "idle", nil)

	assertError(t, err, opDeleteContainer, errdefs.IsPermissionDenied, "kill refused")
	assert.Equal(t, before, d.state())
}

func TestDeleteContainerTouchesNothingOfALiveTask(t *testing.T) {
	for _, status := range []tasktypes.Status{running, paused, pausing} {
		t.Run(status.String(), func(t *testing.T) {
			d := newDaemon(t)
			s := d.service()
			d.change("web", func(p *taskState) { p.Status = status })
			before := d.state()

			err := s.DeleteContainer(t.Context(), "web", nil)

			assertError(t, err, opDeleteContainer, errdefs.IsFailedPrecondition, "live task")
			assert.Contains(t, err.Error(), statusName(status))
			assert.Equal(t, before, d.state())
		})
	}
}
