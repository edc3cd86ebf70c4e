package containerd

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/types/known/anypb"
)

// newOrigin returns the mark of one call: its service's owner and a random part.
func (s *DefaultService) newOrigin() string {
	return s.owner.String() + "/" + rand.Text()
}

// originOwner returns the owner part of an origin.
func originOwner(origin string) (owner, bool) {
	o, err := parseOwner(origin[:max(0, strings.LastIndexByte(origin, '/'))])
	return o, err == nil
}

// originExtension carries an origin in a container's record.
func originExtension(origin string) typeurl.Any {
	return &anypb.Any{TypeUrl: extensionOrigin, Value: []byte(origin)}
}

func recordOrigin(record containers.Container) string {
	origin := record.Extensions[extensionOrigin]
	if origin == nil {
		return ""
	}
	return string(origin.GetValue())
}

// pushSnapshot makes u remove the snapshot key if it carries origin. There is
// none in a snapshotter that the daemon does not have.
func (s *DefaultService) pushSnapshot(u *undo, snapshotter, key, origin string) {
	sn := s.client.SnapshotService(snapshotter)
	u.push("snapshot "+quoted(key), func(ctx context.Context) error {
		info, err := sn.Stat(ctx, key)
		switch {
		case errdefs.IsInvalidArgument(err):
			return nil
		case err != nil || info.Labels[extensionOrigin] != origin:
			return err
		}
		return sn.Remove(ctx, key)
	})
}

// pushRecord makes u delete the container id if it carries origin.
func (s *DefaultService) pushRecord(u *undo, id, origin string) {
	u.push("container "+quoted(id), func(ctx context.Context) error {
		record, err := s.client.ContainerService().Get(ctx, id)
		if err != nil || recordOrigin(record) != origin {
			return err
		}
		return s.client.ContainerService().Delete(ctx, id)
	})
}

// reclaimSnapshot removes the snapshot key if it is what a failed or killed
// call of this package left: it carries our mark, nothing refers to it, and its
// maker is dead or holds it no more. Otherwise it returns an already-exists
// error, which names a maker that may be alive. own is the current call's lease:
// the daemon adds a snapshot that is in the way to it.
func (s *DefaultService) reclaimSnapshot(ctx context.Context, snapshotter, key string, own *heldLease) error {
	sn := s.client.SnapshotService(snapshotter)
	info, err := sn.Stat(ctx, key)
	if errdefs.IsNotFound(err) {
		return nil
	} else if err != nil {
		return err
	}
	origin := info.Labels[extensionOrigin]
	maker, ours := originOwner(origin)
	if !ours || info.Labels[labelRoot] != "" {
		return errdefs.ErrAlreadyExists
	}
	// In this order: a maker that has reached its goal has written its record
	// before it let go of its lease.
	alive, err := s.sweepLeases(ctx)
	if err != nil {
		return err
	}
	if !maker.dead() {
		resource := leases.Resource{ID: key, Type: "snapshots/" + snapshotter}
		if err := s.checkUnheld(ctx, resource, maker, alive, own); err != nil {
			return err
		}
	}
	users, err := s.snapshotUsers(ctx, snapshotter, key)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return fmt.Errorf("used by container %s: %w", quoted(users[0]), errdefs.ErrAlreadyExists)
	}
	// Another process may have taken it over meanwhile.
	info, err = sn.Stat(ctx, key)
	if err == nil && info.Labels[extensionOrigin] != origin {
		return errdefs.ErrAlreadyExists
	}
	if err == nil {
		err = sn.Remove(ctx, key)
	}
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// checkUnheld returns an already-exists error if one of the maker's leases holds
// the resource, own aside.
func (s *DefaultService) checkUnheld(ctx context.Context, resource leases.Resource, maker owner, alive []leases.Lease, own *heldLease) error {
	for _, lease := range alive {
		if lease.Labels[labelOwner] != maker.String() || own.has(lease.ID) {
			continue
		}
		held, err := s.client.LeasesService().ListResources(ctx, lease)
		if err != nil && !errdefs.IsNotFound(err) {
			return err
		}
		if slices.Contains(held, resource) {
			return fmt.Errorf("held by %s of owner %s: %w", lease.Labels[labelOperation], maker, errdefs.ErrAlreadyExists)
		}
	}
	return nil
}

// snapshotUsers returns the sorted IDs of the containers on a snapshot.
func (s *DefaultService) snapshotUsers(ctx context.Context, snapshotter, key string) ([]string, error) {
	all, err := s.client.ContainerService().List(ctx)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, c := range all {
		if c.SnapshotKey == key && c.Snapshotter == snapshotter {
			ids = append(ids, c.ID)
		}
	}
	slices.Sort(ids)
	return ids, nil
}
