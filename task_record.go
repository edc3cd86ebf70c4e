package containerd

import (
	"context"
	"sync/atomic"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/snapshots"
)

// recordStore is a container store that answers for one container from a
// record already read, until it is opened: containerd's client asks for the
// record again at every step of making a task.
type recordStore struct {
	containers.Store
	record containers.Container
	opened atomic.Bool
}

// Get returns the record, or asks the daemon.
func (r *recordStore) Get(ctx context.Context, id string) (containers.Container, error) {
	if id == r.record.ID && !r.opened.Load() {
		return r.record, nil
	}
	return r.Store.Get(ctx, id)
}

// open makes every later Get ask the daemon.
func (r *recordStore) open() { r.opened.Store(true) }

// recorded returns containerd's own handle of the container that record
// describes, without a request. Its methods take what they need from the
// record until store.open is called.
func (s *DefaultService) recorded(ctx context.Context, record containers.Container) (c containerd.Container, store *recordStore, err error) {
	store = &recordStore{Store: s.client.ContainerService(), record: record}
	client, err := s.derive(store, s.client.ImageService(), record.Snapshotter)
	if err != nil {
		return nil, nil, err
	}
	c, err = client.LoadContainer(ctx, record.ID)
	return c, store, err
}

// derive returns a client like the service's with other stores. It makes no
// connection of its own.
func (s *DefaultService) derive(store containers.Store, images images.Store, snapshotter string) (*containerd.Client, error) {
	c := s.client
	services := []containerd.ServicesOpt{
		containerd.WithContainerStore(store),
		containerd.WithTaskClient(c.TaskService()),
		containerd.WithContentStore(c.ContentStore()),
		containerd.WithImageStore(images),
		containerd.WithDiffService(c.DiffService()),
		containerd.WithLeasesService(c.LeasesService()),
		containerd.WithIntrospectionService(c.IntrospectionService()),
	}
	if snapshotter != "" {
		services = append(services, containerd.WithSnapshotters(map[string]snapshots.Snapshotter{
			snapshotter: c.SnapshotService(snapshotter),
		}))
	}
	opts := []containerd.Opt{
		containerd.WithServices(services...),
		containerd.WithDefaultPlatform(s.platform()),
	}
	if conn := s.conn(); conn != nil {
		return containerd.NewWithConn(conn, opts...)
	}
	return containerd.New("", opts...)
}
