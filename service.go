package containerd

import (
	"context"
	"sync"

	containerd "github.com/containerd/containerd/v2/client"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/ctrdkit/containerd/internal/clock"
	"github.com/ctrdkit/containerd/internal/seam"
)

// Service is the stable surface of this package: images, containers, tasks and
// snapshots of one containerd namespace. It has exactly 19 methods and never
// grows, so a hand-written mock of it keeps compiling. Newer abilities are in
// the role interfaces that [Engine] unites.
//
// Every method validates its input before it makes a request, acts in the
// service's namespace whatever namespace ctx carries, and returns errors of
// type [*Error] that keep their errdefs class. A method that fails or is
// cancelled undoes what it made. Implementations are safe for concurrent use
// by multiple goroutines.
type Service interface {
	ImageService
	ContainerService
	TaskService
	SnapshotService
}

// ImageService manages images. References are normalised as Docker does:
// "nginx" means docker.io/library/nginx:latest. An image stored under exactly
// the given name wins over the normalised one.
type ImageService interface {
	// PullImage fetches the image ref for the client's platform and stores it.
	PullImage(ctx context.Context, ref string, opts *PullImageOptions) (containerd.Image, error)
	// GetImage returns the stored image ref.
	GetImage(ctx context.Context, ref string) (containerd.Image, error)
	// ListImages returns all stored images.
	ListImages(ctx context.Context) ([]containerd.Image, error)
	// DeleteImage removes the stored image ref.
	DeleteImage(ctx context.Context, ref string, opts *DeleteImageOptions) error
}

// ContainerService manages container records and their snapshots.
type ContainerService interface {
	// CreateContainer creates a container with a new snapshot of an image.
	CreateContainer(ctx context.Context, req CreateContainerRequest) (containerd.Container, error)
	// CreateContainerFromSnapshot creates a container over an existing active snapshot.
	CreateContainerFromSnapshot(ctx context.Context, req CreateContainerRequest) (containerd.Container, error)
	// GetContainer returns the container id.
	GetContainer(ctx context.Context, id string) (containerd.Container, error)
	// ListContainers returns all containers.
	ListContainers(ctx context.Context) ([]containerd.Container, error)
	// ListContainersByLabel returns the containers that carry a label.
	ListContainersByLabel(ctx context.Context, key, value string) ([]containerd.Container, error)
	// DeleteContainer removes a container that has no running task.
	DeleteContainer(ctx context.Context, id string, opts *DeleteContainerOptions) error
}

// TaskService manages the processes of containers.
type TaskService interface {
	// StartTask starts the container's process.
	StartTask(ctx context.Context, containerID string, opts *StartTaskOptions) (containerd.Task, error)
	// GetTask returns the container's task.
	GetTask(ctx context.Context, containerID string) (containerd.Task, error)
	// ListTasks returns the tasks that match a filter.
	ListTasks(ctx context.Context, opts *ListTasksOptions) ([]TaskInfo, error)
	// StopTask signals the container's process and waits for it to exit.
	StopTask(ctx context.Context, containerID string, opts *StopTaskOptions) error
	// DeleteTask removes the container's task.
	DeleteTask(ctx context.Context, containerID string, opts *DeleteTaskOptions) error
	// ExecTask runs a further process in the container's running task.
	ExecTask(ctx context.Context, containerID string, req ExecTaskRequest) (ExecTaskResult, error)
}

// SnapshotService manages snapshots that live independently of containers.
type SnapshotService interface {
	// CommitSnapshot turns the active snapshot key into the committed snapshot name.
	CommitSnapshot(ctx context.Context, snapshotter, name, key string) error
	// PrepareSnapshot makes the active snapshot key on the committed snapshot parent.
	PrepareSnapshot(ctx context.Context, snapshotter, key, parent string) error
	// SnapshotMounts returns the mounts of the active or view snapshot key.
	SnapshotMounts(ctx context.Context, snapshotter, key string) ([]mount.Mount, error)
}

// DefaultService is the [Service] and [Engine] over a containerd client. Make
// one with [Open] or [NewDefaultService]; the zero value is not usable.
//
// It is safe for concurrent use by multiple goroutines.
type DefaultService struct {
	client    *containerd.Client
	namespace string
	nsErr     error // why namespace is invalid, nil if it is valid
	ownsConn  bool
	config    config

	clock    clock.Clock
	owner    owner
	registry registry
	images   imageCache
	defaults namespaceDefaults
	runtimes runtimeFeatures
	rebases  rebaseSupport
	cleaner  cleaner
	sweep    sweeper

	stdioDir  string // where FIFOs go by default; "" means a directory of this user
	logDir    string // where logs go by default; "" means a directory of this user
	fifoSweep fifoSweeper
	watchers  watchers

	closeOnce sync.Once
	closed    chan struct{}
	closeErr  error
}

// NewDefaultService returns a service that scopes every call to namespace; ""
// means [DefaultNamespace]. It makes no request: an invalid namespace makes
// every call fail with an invalid-argument error, a nil client makes every
// call fail with a failed-precondition error.
//
// The client stays the caller's: [DefaultService.Close] does not close it.
// The service has the safe defaults described at [Open].
func NewDefaultService(client *containerd.Client, namespace string) *DefaultService {
	return newService(client, config{namespace: namespace})
}

func newService(client *containerd.Client, cfg config) *DefaultService {
	if cfg.namespace == "" {
		cfg.namespace = DefaultNamespace
	}
	s := &DefaultService{
		client:    client,
		namespace: cfg.namespace,
		nsErr:     validateNamespace(cfg.namespace),
		config:    cfg,
		clock:     clock.System{},
		owner:     newOwner(),
		closed:    make(chan struct{}),
	}
	s.cleaner.clock = s.clock
	return s
}

func init() {
	seam.Configure = func(service any, settings seam.Settings) {
		s := service.(*DefaultService)
		if c := settings.Clock; c != nil {
			s.clock, s.cleaner.clock = c, c
		}
		s.stdioDir, s.logDir = settings.StdioDir, settings.LogDir
		s.registry.reach = settings.Reach
	}
	seam.FIFODirs = func(service any) []string { return service.(*DefaultService).fifoDirs() }
}
