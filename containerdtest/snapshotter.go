package containerdtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/containerd/v2/plugins"
	continuity "github.com/containerd/continuity/fs"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/containerd/plugin"
	bolt "go.etcd.io/bbolt"
)

// directories is a snapshotter for which every snapshot is a directory with all
// of its files. Its records, and so its errors, are containerd's own.
type directories struct {
	root  string
	store *storage.MetaStore
}

var _ snapshots.Snapshotter = (*directories)(nil)

func snapshotterPlugin(name string) plugin.Registration {
	return plugin.Registration{
		Type: plugins.SnapshotPlugin,
		ID:   name,
		InitFn: func(ic *plugin.InitContext) (any, error) {
			ic.Meta.Platforms = append(ic.Meta.Platforms, platforms.DefaultSpec())
			return newDirectories(ic.Properties[plugins.PropertyRootDir])
		},
	}
}

func newDirectories(root string) (*directories, error) {
	if err := os.MkdirAll(filepath.Join(root, "snapshots"), 0o700); err != nil {
		return nil, err
	}
	store, err := storage.NewMetaStore(filepath.Join(root, "metadata.db"), func(o *bolt.Options) error {
		o.NoSync = true // the machine under the fake does not crash
		o.Timeout = lockLimit
		return nil
	})
	return &directories{root, store}, err
}

func (d *directories) dir(id string) string { return filepath.Join(d.root, "snapshots", id) }

func (d *directories) Stat(ctx context.Context, key string) (info snapshots.Info, err error) {
	err = d.store.WithTransaction(ctx, false, func(ctx context.Context) error {
		_, info, _, err = storage.GetInfo(ctx, key)
		return err
	})
	return info, err
}

func (d *directories) Update(ctx context.Context, info snapshots.Info, fields ...string) (updated snapshots.Info, err error) {
	err = d.store.WithTransaction(ctx, true, func(ctx context.Context) error {
		updated, err = storage.UpdateInfo(ctx, info, fields...)
		return err
	})
	return updated, err
}

func (d *directories) Usage(ctx context.Context, key string) (usage snapshots.Usage, err error) {
	err = d.store.WithTransaction(ctx, false, func(ctx context.Context) error {
		id, info, stored, err := storage.GetInfo(ctx, key)
		if usage = stored; err == nil && info.Kind == snapshots.KindActive {
			usage, err = d.measure(ctx, id)
		}
		return err
	})
	return usage, err
}

func (d *directories) measure(ctx context.Context, id string) (snapshots.Usage, error) {
	usage, err := continuity.DiskUsage(ctx, d.dir(id))
	return snapshots.Usage(usage), err
}

func (d *directories) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	return d.create(ctx, snapshots.KindActive, key, parent, opts)
}

func (d *directories) View(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	return d.create(ctx, snapshots.KindView, key, parent, opts)
}

func (d *directories) create(ctx context.Context, kind snapshots.Kind, key, parent string, opts []snapshots.Opt) (mounts []mount.Mount, err error) {
	err = d.store.WithTransaction(ctx, true, func(ctx context.Context) (err error) {
		s, err := storage.CreateSnapshot(ctx, kind, key, parent, opts...)
		if err != nil {
			return err
		}
		dir := d.dir(s.ID)
		defer func() {
			if err != nil {
				err = errors.Join(err, removeTree(dir))
			}
		}()
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		if len(s.ParentIDs) > 0 {
			err = continuity.CopyDir(dir, d.dir(s.ParentIDs[0]))
		}
		mounts = d.mounts(s)
		return err
	})
	return mounts, err
}

func (d *directories) Mounts(ctx context.Context, key string) (mounts []mount.Mount, err error) {
	err = d.store.WithTransaction(ctx, false, func(ctx context.Context) error {
		s, err := storage.GetSnapshot(ctx, key)
		mounts = d.mounts(s)
		return err
	})
	return mounts, err
}

func (d *directories) mounts(s storage.Snapshot) []mount.Mount {
	access := "rw"
	if s.Kind == snapshots.KindView {
		access = "ro"
	}
	return []mount.Mount{{Type: "bind", Source: d.dir(s.ID), Options: []string{"rbind", access}}}
}

func (d *directories) Commit(ctx context.Context, name, key string, opts ...snapshots.Opt) error {
	return d.store.WithTransaction(ctx, true, func(ctx context.Context) error {
		id, info, _, err := storage.GetInfo(ctx, key)
		if err != nil {
			return err
		}
		if info.Kind != snapshots.KindActive {
			return fmt.Errorf("snapshot %s is not active: %w", key, errdefs.ErrFailedPrecondition)
		}
		usage, err := d.measure(ctx, id)
		if err == nil {
			_, err = storage.CommitActive(ctx, key, name, usage, opts...)
		}
		return err
	})
}

// Remove removes the record and then the directory.
func (d *directories) Remove(ctx context.Context, key string) error {
	var dir string
	err := d.store.WithTransaction(ctx, true, func(ctx context.Context) error {
		id, _, err := storage.Remove(ctx, key)
		dir = d.dir(id)
		return err
	})
	if err != nil {
		return err
	}
	return removeTree(dir)
}

func (d *directories) Walk(ctx context.Context, visit snapshots.WalkFunc, filters ...string) error {
	return d.store.WithTransaction(ctx, false, func(ctx context.Context) error {
		return storage.WalkInfo(ctx, visit, filters...)
	})
}

func (d *directories) Close() error { return d.store.Close() }
