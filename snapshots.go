package containerd

import (
	"context"
	"fmt"
	"strings"
	"time"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
)

// labelRoot keeps an object from garbage collection until the object is removed.
const labelRoot = "containerd.io/gc.root"

func gcRoot(now time.Time) (key, value string) {
	return labelRoot, now.UTC().Format(time.RFC3339)
}

// SnapshotCommitResult names the snapshots of a commit that goes on: what was
// committed, and the active snapshot made on it. No method of [Service] returns
// it; it is the common form for callers that commit and prepare in one step.
type SnapshotCommitResult struct {
	VersionSnapshotID string // name of the committed snapshot
	ActiveSnapshotID  string // key of the active snapshot on it
}

// CommitSnapshot turns the active snapshot key into the committed snapshot
// name, which garbage collection keeps until it is removed. key is gone then.
//
// It returns a not-found error if key does not exist, an already-exists error
// if name does, and a failed-precondition error if a container whose task has
// not stopped uses key; nothing is changed then.
func (s *DefaultService) CommitSnapshot(ctx context.Context, snapshotter, name, key string) error {
	const op = "commit snapshot"
	err := firstError(checkText("snapshotter", snapshotter), checkText("name", name), checkText("key", key))
	if err == nil {
		ctx, err = s.begin(ctx)
	}
	if err == nil {
		err = s.commit(ctx, snapshotter, name, key)
	}
	return opError(ctx, op, key, err)
}

// commit holds the locks of the containers on key, so that none of them is
// started meanwhile.
func (s *DefaultService) commit(ctx context.Context, snapshotter, name, key string) error {
	users, err := s.snapshotUsers(ctx, snapshotter, key)
	if err != nil {
		return err
	}
	for _, id := range users { // sorted, so that two commits can't wait for each other
		unlock, err := s.lockID(ctx, id)
		if err != nil {
			return err
		}
		defer unlock()
	}
	for _, id := range users {
		if err := s.checkStopped(ctx, id); err != nil {
			return err
		}
	}
	lasting, cancel := outlive(ctx) // a commit can't be taken back, so it is not cut short
	defer cancel()
	sn, origin := s.client.SnapshotService(snapshotter), s.newOrigin()
	k, v := gcRoot(s.clock.Now())
	err = sn.Commit(lasting, name, key, snapshots.WithLabels(map[string]string{k: v, extensionOrigin: origin}))
	if err == nil || errdefs.IsNotFound(err) || errdefs.IsAlreadyExists(err) {
		return err
	}
	// The answer may have been lost: the label tells whether the commit was made.
	s.wakeConnection(lasting)
	if info, lookErr := sn.Stat(lasting, name); lookErr == nil && info.Labels[extensionOrigin] == origin {
		return nil
	}
	// Not every snapshotter gives its refusal a class.
	if info, lookErr := sn.Stat(lasting, key); lookErr == nil && info.Kind != snapshots.KindActive {
		return fmt.Errorf("the snapshot is not active but %s: %w", strings.ToLower(info.Kind.String()), errdefs.ErrFailedPrecondition)
	}
	return err
}

func (s *DefaultService) checkStopped(ctx context.Context, id string) error {
	p, err := s.process(ctx, id, "")
	switch {
	case errdefs.IsNotFound(err):
		return nil
	case err != nil:
		return err
	case p.GetStatus() != tasktypes.Status_STOPPED:
		return fmt.Errorf("container %s uses the snapshot: %w", quoted(id), wrongState(p.GetStatus()))
	}
	return nil
}

// PrepareSnapshot makes the active snapshot key on the committed snapshot
// parent. Garbage collection keeps it until it is removed.
//
// It returns a not-found error if parent does not exist, an already-exists
// error if key does, and an invalid-argument error if parent is not committed;
// nothing is changed then.
func (s *DefaultService) PrepareSnapshot(ctx context.Context, snapshotter, key, parent string) error {
	const op = "prepare snapshot"
	err := firstError(checkText("snapshotter", snapshotter), checkText("key", key), checkText("parent", parent))
	if err == nil {
		ctx, err = s.begin(ctx)
	}
	if err == nil {
		err = s.prepareKept(ctx, snapshotter, key, parent)
	}
	return opError(ctx, op, key, err)
}

// prepareKept takes an unclear answer back: the label tells whether the
// snapshot is the one that this call made.
func (s *DefaultService) prepareKept(ctx context.Context, snapshotter, key, parent string) error {
	lockID := "snapshot " + snapshotter + " " + key // no container ID has spaces
	unlock, err := s.lockID(ctx, lockID)
	if err != nil {
		return err
	}
	defer unlock()
	lasting, cancel := outlive(ctx)
	defer cancel()
	u := &undo{}
	origin := s.newOrigin()
	k, v := gcRoot(s.clock.Now())
	s.pushSnapshot(u, snapshotter, key, origin)
	_, err = s.client.SnapshotService(snapshotter).Prepare(lasting, key, parent,
		snapshots.WithLabels(map[string]string{k: v, extensionOrigin: origin}))
	if err != nil {
		return s.takeBack(lasting, lockID, u, err)
	}
	return nil
}

// SnapshotMounts returns the mounts of the active or view snapshot key, as the
// daemon gives them: they are not mounted, and their paths are the daemon's.
// It returns a not-found error if key does not exist, and the daemon's error
// for a committed snapshot.
func (s *DefaultService) SnapshotMounts(ctx context.Context, snapshotter, key string) ([]mount.Mount, error) {
	const op = "snapshot mounts"
	err := firstError(checkText("snapshotter", snapshotter), checkText("key", key))
	if err == nil {
		ctx, err = s.begin(ctx)
	}
	if err != nil {
		return nil, opError(ctx, op, key, err)
	}
	mounts, err := s.client.SnapshotService(snapshotter).Mounts(ctx, key)
	if err != nil {
		return nil, opError(ctx, op, key, err)
	}
	return mounts, nil
}
