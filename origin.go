package containerd

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"

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
// call of this package left: it carries our mark, nothing refers to it, and no
// lease of an owner that may be alive holds it. Otherwise it returns an
// already-exists error, which names such an owner.
func (s *DefaultService) reclaimSnapshot(ctx context.Context, snapshotter, key string) error {
	sn := s.client.SnapshotService(snapshotter)
	info, err := sn.Stat(ctx, key)
	if errdefs.IsNotFound(err) {
		return nil
	} else if err != nil {
		return err
	}
	if info.Labels[extensionOrigin] == "" || info.Labels[labelRoot] != "" {
		return errdefs.ErrAlreadyExists
	}
	users, err := s.snapshotUsers(ctx, snapshotter, key)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return fmt.Errorf("used by container %s: %w", quoted(users[0]), errdefs.ErrAlreadyExists)
	}
	alive, err := s.sweepLeases(ctx)
	if err != nil {
		return err
	}
	resource := leases.Resource{ID: key, Type: "snapshots/" + snapshotter}
	for _, lease := range alive {
		held, err := s.client.LeasesService().ListResources(ctx, lease)
		if err != nil && !errdefs.IsNotFound(err) {
			return err
		}
		if slices.Contains(held, resource) {
			return fmt.Errorf("held by %s of owner %s: %w", lease.Labels[labelOperation], lease.Labels[labelOwner], errdefs.ErrAlreadyExists)
		}
	}
	if err := sn.Remove(ctx, key); err != nil && !errdefs.IsNotFound(err) {
		return err
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
