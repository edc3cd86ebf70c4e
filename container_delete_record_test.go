package containerd

import (
	"context"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDeleteContainerDecidesALostAnswerByLooking(t *testing.T) {
	// Given a daemon that deletes the record, but whose answer is lost,
	d := newDaemon(t)
	s := d.service()
	d.lose("Containers/Delete")

	require.NoError(t, s.DeleteContainer(t.Context(), "idle", nil))

	assert.Nil(t, d.record("idle"))
	assert.Nil(t, d.snapshot("idle"))
}

func TestDeleteContainerRemovesARecordThatOnlyDeletesSee(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	d.fail("Containers/Get", errdefs.ErrNotFound)

	require.NoError(t, s.DeleteContainer(t.Context(), "idle", nil))
	assert.Nil(t, d.record("idle"))

	err := s.DeleteContainer(t.Context(), "idle", nil)
	assertError(t, err, opDeleteContainer, errdefs.IsNotFound, "there is nothing any more")
}

func TestDeleteContainerProtectsTheSnapshotItKeeps(t *testing.T) {
	d := newDaemon(t)
	s := d.service()

	require.NoError(t, s.DeleteContainer(t.Context(), "idle", &DeleteContainerOptions{}))

	assert.Nil(t, d.record("idle"))
	require.NotNil(t, d.snapshot("idle"))
	assert.NotEmpty(t, d.snapshot("idle").GetLabels()[labelRoot])
}

func TestDeleteContainerKeepsTheContainerWhenItCannotProtectTheSnapshot(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	d.fail("Snapshots/Update", errdefs.ErrPermissionDenied)
	before := d.state()

	err := s.DeleteContainer(t.Context(), "idle", &DeleteContainerOptions{})

	assertError(t, err, opDeleteContainer, errdefs.IsPermissionDenied, "protecting refused")
	assert.Contains(t, err.Error(), `snapshot "idle"`)
	assert.Equal(t, before, d.state())
}

// The caller wants to keep the snapshot: a daemon that fails after the record
// is gone must not make the call remove it.
func TestDeleteContainerKeepsTheSnapshotWhateverFails(t *testing.T) {
	for _, method := range []string{"Containers/Delete", "Tasks/List", "Containers/ListStream"} {
		t.Run(method, func(t *testing.T) {
			d := newDaemon(t)
			s := d.service()
			stopClock(s)
			d.once(method, func(context.Context) error { return errdefs.ErrUnavailable })
			opts := &DeleteContainerOptions{CleanupSnapshot: false}

			err := s.DeleteContainer(t.Context(), "idle", opts)

			if err != nil {
				assertError(t, err, opDeleteContainer, errdefs.IsUnavailable, method)
			}
			assert.NotNil(t, d.snapshot("idle"), "%v", d.methods())
		})
	}
}

// When nobody can say whether another program has started a task on the
// deleted record, its snapshot must not be removed under that task.
func TestDeleteContainerRemovesNoSnapshotUnderATaskItCouldNotSee(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	d.once("Containers/Delete", d.startElsewhere("idle"))
	d.once("Tasks/List", func(context.Context) error { return errdefs.ErrUnavailable })

	err := s.DeleteContainer(t.Context(), "idle", nil)

	require.Error(t, err)
	assert.Contains(t, d.state(), "task idle RUNNING")
	assert.NotNil(t, d.snapshot("idle"), "the task runs on it: %v", err)
}

func TestDeleteContainerWithoutASnapshot(t *testing.T) {
	for name, test := range map[string]struct {
		opts *DeleteContainerOptions
		key  string // of the record
	}{
		"none in the record, removing": {nil, ""},
		"none in the record, keeping":  {&DeleteContainerOptions{}, ""},
		"already gone, removing":       {nil, "gone"},
		"already gone, keeping":        {&DeleteContainerOptions{}, "gone"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDaemon(t)
			s := d.service()
			d.stores.containers["idle"].SnapshotKey = test.key

			require.NoError(t, s.DeleteContainer(t.Context(), "idle", test.opts))

			assert.Nil(t, d.record("idle"))
			assert.NotNil(t, d.snapshot("idle"), "it is not this container's")
		})
	}
}

func TestDeleteContainerLeavesTheSnapshotToTheCleaner(t *testing.T) {
	// Given a daemon that does not remove snapshots for a while,
	d := newDaemon(t)
	s := d.service()
	clock := stopClock(s)
	d.fail("Snapshots/Remove", errdefs.ErrUnavailable)
	// when the container is deleted,
	err := s.DeleteContainer(t.Context(), "idle", nil)
	// then the error says what is done and what remains,
	assertError(t, err, opDeleteContainer, errdefs.IsUnavailable, "no removal")
	assert.Contains(t, err.Error(), "container is deleted")
	assert.Contains(t, err.Error(), `snapshot "idle"`)
	assert.Nil(t, d.record("idle"))
	assert.NotNil(t, d.snapshot("idle"))
	// and the cleaner removes it once the daemon does.
	clock.await(t, cleanerPause)
	d.heal()
	clock.pass(t, cleanerPause)
	require.NoError(t, s.Close())
	assert.Nil(t, d.snapshot("idle"))
}

// The daemon refuses to remove a snapshot that others are based on. That must
// not look like the refusal after which the container stays.
func TestDeleteContainerSaysThatItIsDeletedWhenTheSnapshotIsRefused(t *testing.T) {
	d := newDaemon(t)
	s := newService(d.client, config{namespace: testNamespace})
	clock := stopClock(s)
	d.fail("Snapshots/Remove", errdefs.ErrFailedPrecondition)

	err := s.DeleteContainer(t.Context(), "idle", nil)

	assertError(t, err, opDeleteContainer, errdefs.IsFailedPrecondition, "refused")
	assert.Nil(t, d.record("idle"))
	require.Contains(t, err.Error(), "container is deleted")
	assert.Contains(t, err.Error(), `snapshot "idle"`)
	clock.await(t, cleanerPause)
	d.heal()
	clock.pass(t, cleanerPause)
	require.NoError(t, s.Close())
	assert.Nil(t, d.snapshot("idle"), "the cleaner goes on")
}

// Another program that starts a task while nobody can look is noticed by the
// cleaner, which then writes the record back.
func TestCleanerWritesTheRecordBackWhenATaskHasAppeared(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	clock := stopClock(s)
	d.once("Containers/Delete", d.startElsewhere("idle"))
	d.fail("Tasks/List", errdefs.ErrUnavailable)
	err := s.DeleteContainer(t.Context(), "idle", nil)
	assertError(t, err, opDeleteContainer, errdefs.IsUnavailable, "nobody can look")
	assert.Contains(t, err.Error(), "container is deleted")

	clock.await(t, cleanerPause)
	d.heal()
	clock.pass(t, cleanerPause)

	require.NoError(t, s.Close())
	assert.NotNil(t, d.record("idle"))
	assert.NotNil(t, d.snapshot("idle"))
	assert.Contains(t, d.state(), "task idle RUNNING")
}

func TestCleanerKeepsASnapshotThatANewContainerUses(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	clock := stopClock(s)
	d.fail("Snapshots/Remove", errdefs.ErrUnavailable)
	require.Error(t, s.DeleteContainer(t.Context(), "idle", nil))
	clock.await(t, cleanerPause)

	d.mu.Lock()
	d.addContainer("new", "idle")
	d.mu.Unlock()
	d.heal()
	clock.pass(t, cleanerPause)

	require.NoError(t, s.Close())
	assert.NotNil(t, d.snapshot("idle"))
}
