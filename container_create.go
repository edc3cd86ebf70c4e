package containerd

import (
	"context"
	"fmt"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
)

// createContainer makes the snapshot and the record under a lease. name is the
// canonical form of req.ImageRef.
func (s *DefaultService) createContainer(ctx context.Context, req CreateContainerRequest, name string) (_ containerd.Container, err error) {
	snapshotter, err := s.snapshotter(ctx, req.Snapshotter)
	if err != nil {
		return nil, err
	}
	image, info, err := s.ensureImage(ctx, req.ImageRef, name, snapshotter)
	if err != nil {
		return nil, err
	}
	unlock, err := s.lockID(ctx, req.ID)
	if err != nil {
		return nil, err
	}
	defer unlock()

	lasting, cancel := outlive(ctx)
	defer cancel()
	u := &undo{}
	defer func() {
		if err != nil {
			err = s.takeBack(lasting, req.ID, u, err)
		}
	}()
	lease, err := s.hold(lasting, "create container", req.ID, u)
	if err != nil {
		return nil, err
	}
	b := &build{
		request:     req,
		image:       image,
		info:        info,
		snapshotter: snapshotter,
		key:         req.SnapshotID,
		fresh:       true,
		origin:      s.newOrigin(),
	}
	if b.key == "" {
		b.key = req.ID
	}
	s.pushSnapshot(u, snapshotter, b.key, b.origin)
	if b.mounts, err = s.prepare(ctx, lease, b, name); err != nil {
		return nil, err
	}
	c, err := s.storeRecord(ctx, lasting, b, u)
	if err != nil {
		return nil, err
	}
	lease.release()
	return c, nil
}

// prepare makes the container's snapshot on the image, and unpacks the image
// first where it has to. Only the unpacking is cut short when ctx ends: what a
// request made whose answer nobody awaits would come to light too late.
func (s *DefaultService) prepare(ctx context.Context, lease *heldLease, b *build, name string) ([]mount.Mount, error) {
	sn := s.client.SnapshotService(b.snapshotter)
	label := snapshots.WithLabels(map[string]string{extensionOrigin: b.origin})
	try := func() ([]mount.Mount, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return sn.Prepare(lease, b.key, b.info.chainID, label)
	}

	mounts, err := try()
	if errdefs.IsNotFound(err) && b.info.chainID != "" {
		stop := lease.keep()
		err = s.unpack(lease.until(ctx), b.image, name, b.snapshotter)
		stop()
		if err != nil {
			return nil, fmt.Errorf("unpacking %s: %w", quoted(b.image.Name()), err)
		}
		mounts, err = try()
	}
	if errdefs.IsAlreadyExists(err) {
		if err := s.reclaim(ctx, lease, b); err != nil {
			return nil, err
		}
		mounts, err = try()
	}
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", quoted(b.key), err)
	}
	return mounts, nil
}

// reclaim removes the snapshot in b's way if it is the remainder of a failed
// call, and otherwise says what is in the way: the container or the snapshot.
func (s *DefaultService) reclaim(ctx context.Context, lease *heldLease, b *build) error {
	if _, err := s.load(ctx, b.request.ID); err == nil {
		return fmt.Errorf("container: %w", errdefs.ErrAlreadyExists)
	} else if !errdefs.IsNotFound(err) {
		return err
	}
	if err := s.reclaimSnapshot(ctx, b.snapshotter, b.key, lease); err != nil {
		return fmt.Errorf("snapshot %s: %w", quoted(b.key), err)
	}
	return nil
}

// createFromSnapshot makes the record over an existing snapshot, and looks at
// the snapshot again once the record protects it.
func (s *DefaultService) createFromSnapshot(ctx context.Context, req CreateContainerRequest, name string) (_ containerd.Container, err error) {
	snapshotter, err := s.snapshotter(ctx, req.Snapshotter)
	if err != nil {
		return nil, err
	}
	sn := s.client.SnapshotService(snapshotter)
	if err := checkActive(ctx, sn, req.SnapshotID); err != nil {
		return nil, err
	}
	image, info, err := s.ensureImage(ctx, req.ImageRef, name, snapshotter)
	if err != nil {
		return nil, err
	}
	unlock, err := s.lockID(ctx, req.ID)
	if err != nil {
		return nil, err
	}
	defer unlock()

	lasting, cancel := outlive(ctx)
	defer cancel()
	u := &undo{}
	defer func() {
		if err != nil {
			err = s.takeBack(lasting, req.ID, u, err)
		}
	}()
	b := &build{
		request:     req,
		image:       image,
		info:        info,
		snapshotter: snapshotter,
		key:         req.SnapshotID,
		origin:      s.newOrigin(),
	}
	if b.mounts, err = sn.Mounts(ctx, b.key); err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", quoted(b.key), err)
	}
	c, err := s.storeRecord(ctx, lasting, b, u)
	if err != nil {
		return nil, err
	}
	return c, checkActive(lasting, sn, b.key)
}

func checkActive(ctx context.Context, sn snapshots.Snapshotter, key string) error {
	info, err := sn.Stat(ctx, key)
	if err != nil {
		return fmt.Errorf("snapshot %s: %w", quoted(key), err)
	}
	if info.Kind != snapshots.KindActive {
		return fmt.Errorf("snapshot %s is %s, want an active one: %w", quoted(key), info.Kind, errdefs.ErrFailedPrecondition)
	}
	return nil
}

// storeRecord builds the record, stores it, and returns containerd's own
// handle of it. containerd's NewContainer would take a lease of its own.
func (s *DefaultService) storeRecord(ctx, lasting context.Context, b *build, u *undo) (containerd.Container, error) {
	record, err := s.buildRecord(ctx, b)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.pushRecord(u, b.request.ID, b.origin)
	stored, err := s.createRecord(lasting, record, u)
	if err != nil {
		return nil, err
	}
	c, store, err := s.recorded(ctx, stored)
	if err != nil {
		return nil, err
	}
	store.open()
	return c, nil
}

// createRecord stores a record. One that is in the way may be that of an earlier
// call, come late; and so may this one if its request is cut short.
func (s *DefaultService) createRecord(ctx context.Context, record *containers.Container, u *undo) (containers.Container, error) {
	store := s.client.ContainerService()
	stored, err := store.Create(ctx, *record)
	if errdefs.IsAlreadyExists(native(err)) && s.cleaner.holds(record.ID) {
		if err := s.cleaner.finish(ctx, record.ID); err != nil {
			return stored, err
		}
		stored, err = store.Create(ctx, *record)
	}
	switch {
	case err == nil:
	case errdefs.IsAlreadyExists(native(err)):
		return stored, fmt.Errorf("container: %w", errdefs.ErrAlreadyExists)
	case unanswered(err):
		until := s.clock.Now().Add(lateTime)
		u.expectLate(func() bool { return s.clock.Now().Before(until) })
	}
	return stored, err
}
