package containerd

import (
	"context"
	"errors"
	"testing"
	"time"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const opCommit = "commit snapshot"

func TestCommitOfASnapshotInUseChangesNothing(t *testing.T) {
	for _, status := range []tasktypes.Status{created, running, pausing, paused} {
		t.Run(status.String(), func(t *testing.T) {
			d := newDaemon(t)
			s := d.service()
			d.change("web", func(p *taskState) { p.Status = status })
			before := d.state()

			err := s.CommitSnapshot(t.Context(), testSnapshotter, "v1", "web")

			assertError(t, err, opCommit, errdefs.IsFailedPrecondition, "in use")
			assert.Contains(t, err.Error(), `container "web"`)
			assert.Equal(t, before, d.state())
		})
	}
}

func TestCommitLooksAtEveryContainerOfTheSnapshot(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	d.addContainer("a", "web") // without a task, and before "web"
	d.addContainer("z", "web")
	before := d.state()

	err := s.CommitSnapshot(t.Context(), testSnapshotter, "v1", "web")

	assertError(t, err, opCommit, errdefs.IsFailedPrecondition, "one of three runs")
	assert.Equal(t, before, d.state())
}

func TestCommitOfASnapshotWhoseTaskHasStopped(t *testing.T) {
	for _, key := range []string{"done", "idle", "kept"} {
		t.Run(key, func(t *testing.T) {
			d := newDaemon(t)
			s := d.service()

			require.NoError(t, s.CommitSnapshot(t.Context(), testSnapshotter, "v1", key))

			assert.Nil(t, d.snapshot(key))
			made := d.snapshot("v1")
			require.NotNil(t, made)
			assert.Equal(t, snapshotsapi.Kind_COMMITTED, made.GetKind())
			assert.NotEmpty(t, made.GetLabels()[labelRoot], "kept until it is removed")
		})
	}
}

func TestCommitIgnoresContainersOfAnotherSnapshotter(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	d.stores.containers["web"].Snapshotter = "native"

	require.NoError(t, s.CommitSnapshot(t.Context(), testSnapshotter, "v1", "web"))
}

func TestCommitFailsWithWhatItCannotSee(t *testing.T) {
	for _, method := range []string{"Containers/ListStream", "Tasks/Get"} {
		t.Run(method, func(t *testing.T) {
			d := newDaemon(t)
			s := d.service()
			d.fail(method, errdefs.ErrUnavailable)
			before := d.state()

			err := s.CommitSnapshot(t.Context(), testSnapshotter, "v1", "done")

			assertError(t, err, opCommit, errdefs.IsUnavailable, method)
			assert.Equal(t, before, d.state())
		})
	}
}

// A container of the snapshot must not be started while it is committed.
func TestCommitWaitsForTheContainersTurn(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	unlock, err := s.lockID(t.Context(), "idle")
	require.NoError(t, err)
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	d.once("Containers/ListStream", func(context.Context) error { cancel(); return nil })
	before := d.state()

	err = s.CommitSnapshot(ctx, testSnapshotter, "v1", "idle")

	assertError(t, err, opCommit, func(err error) bool { return errors.Is(err, context.Canceled) }, "no turn")
	assert.Equal(t, before, d.state())
}

func TestCommitWhoseAnswerIsLostIsDecidedByLooking(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	d.lose("Snapshots/Commit")
	require.NoError(t, s.CommitSnapshot(t.Context(), testSnapshotter, "v1", "kept"))
	assert.NotNil(t, d.snapshot("v1"))
}

func TestCommitThatFailedIsNotTakenForAnotherOfThatName(t *testing.T) {
	// Given a daemon that fails a commit whose name somebody else uses,
	d := newDaemon(t)
	s := d.service()
	d.fail("Snapshots/Commit", errdefs.ErrUnavailable)

	err := s.CommitSnapshot(t.Context(), testSnapshotter, "v0", "kept")

	assertError(t, err, opCommit, errdefs.IsUnavailable, "not ours")
	assert.NotNil(t, d.snapshot("kept"))
}

func TestCommitOfWhatIsNotActiveHasAClassOnEverySnapshotter(t *testing.T) {
	// Given a snapshotter that looks for the files of a view, which has none,
	d := newDaemon(t)
	s := d.service()
	d.addSnapshot("view", "v0", snapshotsapi.Kind_VIEW, nil)
	d.fail("Snapshots/Commit", errors.New("lstat /snapshots/4: no such file or directory"))

	err := s.CommitSnapshot(t.Context(), testSnapshotter, "v1", "view")

	assertError(t, err, opCommit, errdefs.IsFailedPrecondition, "a view")
	assert.ErrorContains(t, err, "view")
}

func TestCommitKeepsTheDaemonsClass(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	before := d.state()
	assertError(t, s.CommitSnapshot(t.Context(), testSnapshotter, "v1", "gone"), opCommit, errdefs.IsNotFound, "no key")
	assertError(t, s.CommitSnapshot(t.Context(), testSnapshotter, "v0", "kept"), opCommit, errdefs.IsAlreadyExists, "name taken")
	assert.Equal(t, before, d.state())
}

func TestPrepareKeepsTheSnapshotAndTheDaemonsClass(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	require.NoError(t, s.PrepareSnapshot(t.Context(), testSnapshotter, "a/b", "v0"))
	assert.NotEmpty(t, d.snapshot("a/b").GetLabels()[labelRoot], "kept until it is removed")
	before := d.state()

	err := s.PrepareSnapshot(t.Context(), testSnapshotter, "kept", "v0")
	assertError(t, err, "prepare snapshot", errdefs.IsAlreadyExists, "key taken")
	err = s.PrepareSnapshot(t.Context(), testSnapshotter, "new", "gone")
	assertError(t, err, "prepare snapshot", errdefs.IsNotFound, "no parent")
	assert.Equal(t, before, d.state(), "what is in the way is not the call's")
}

// awaitWaiter returns when somebody waits for a lock that is held.
func awaitWaiter(t *testing.T, key lockKey) {
	t.Helper()
	require.Eventually(t, func() bool {
		idLocks.mu.Lock()
		defer idLocks.mu.Unlock()
		return idLocks.held[key].users == 2
	}, patience, time.Millisecond)
}

func TestPrepareWaitsForItsTurn(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	unlock, err := s.lockID(t.Context(), "snapshot "+testSnapshotter+" new")
	require.NoError(t, err)
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	done := async(func() error { return s.PrepareSnapshot(ctx, testSnapshotter, "new", "v0") })
	awaitWaiter(t, s.lockKey("snapshot "+testSnapshotter+" new"))
	cancel()

	err = received(t, done)

	assertError(t, err, "prepare snapshot", func(err error) bool { return errors.Is(err, context.Canceled) }, "no turn")
	assert.Empty(t, d.Calls())
}

func TestSnapshotMountsAreTheDaemons(t *testing.T) {
	d := newDaemon(t)
	s := d.service()

	mounts, err := s.SnapshotMounts(t.Context(), testSnapshotter, "kept")

	require.NoError(t, err)
	assert.Equal(t, []mount.Mount{{Type: "bind", Source: d.rootfs, Options: []string{"rbind"}}}, mounts)
	_, err = s.SnapshotMounts(t.Context(), testSnapshotter, "gone")
	assertError(t, err, "snapshot mounts", errdefs.IsNotFound, "no key")
}
