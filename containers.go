package containerd

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"

	containerd "github.com/containerd/containerd/v2/client"

	"github.com/ctrdkit/containerd/internal/filter"
)

// CreateContainerRequest describes a new container.
type CreateContainerRequest struct {
	// ID is the container's ID: at most 76 letters and digits, with single
	// '.', '_' or '-' between them. Required.
	ID string
	// ImageRef is the image that the process settings come from. Required.
	ImageRef string
	// SnapshotID is the key of the container's snapshot. CreateContainer makes
	// it, "" means ID; CreateContainerFromSnapshot requires that it exists.
	SnapshotID string
	// Snapshotter is where the snapshot lives; "" means the namespace's default.
	Snapshotter string
	// Labels are the container's labels. Values are not empty, and key and
	// value have at most 4096 bytes together. Labels under containerd.io/ and
	// io.cri-containerd are refused unless the service allows them, and always
	// those under ctrdkit.io/, which are this library's: who clones a container
	// leaves them out.
	Labels map[string]string
	// SpecOpts change the OCI spec after the defaults and the image's settings
	// have been applied, in order.
	SpecOpts []oci.SpecOpts
}

// DeleteContainerOptions says what [Service.DeleteContainer] does with the
// container's snapshot: nil removes it, and with options CleanupSnapshot says
// whether to. The zero value keeps it.
type DeleteContainerOptions struct {
	// CleanupSnapshot removes the snapshot, unless another container uses it.
	// false keeps it, protected from garbage collection until it is removed.
	CleanupSnapshot bool
}

// CreateContainer creates a container with a new snapshot of an image: it
// pulls the image when it is absent, unpacks it into the snapshotter when it
// is not unpacked there, prepares the snapshot and stores the record.
//
// The process settings come from the image's configuration and SpecOpts. The
// spec has Docker's default capabilities, no new privileges, masked paths and
// the default seccomp profile, unless SpecOpts or the service's options say
// otherwise. The image's stop signal is stored in a label, for
// [Service.StopTask]. The image's own labels are not copied.
//
// It returns an already-exists error if the container or the snapshot exists,
// and says which; an invalid-argument error for a request that containerd
// would refuse; and the errors of [Service.PullImage]. After an error, or when
// ctx ends, nothing that the call made is left, or the error says what is.
func (s *DefaultService) CreateContainer(ctx context.Context, req CreateContainerRequest) (containerd.Container, error) {
	const op = "create container"
	name, err := s.checkCreate(req)
	if err == nil {
		ctx, err = s.begin(ctx)
	}
	if err != nil {
		return nil, opError(ctx, op, req.ID, err)
	}
	c, err := s.createContainer(ctx, req, name)
	if err != nil {
		return nil, opError(ctx, op, req.ID, err)
	}
	return s.scope().container(c), nil
}

// CreateContainerFromSnapshot creates a container over the existing active
// snapshot SnapshotID, which survives every failure. Everything else is as in
// [Service.CreateContainer]; the image is only pulled, not unpacked, when it
// is absent.
//
// It returns a not-found error if the snapshot does not exist, and a
// failed-precondition error if it is not active.
func (s *DefaultService) CreateContainerFromSnapshot(ctx context.Context, req CreateContainerRequest) (containerd.Container, error) {
	const op = "create container from snapshot"
	name, err := s.checkCreate(req)
	if err == nil {
		err = checkText("SnapshotID", req.SnapshotID)
	}
	if err == nil {
		ctx, err = s.begin(ctx)
	}
	if err != nil {
		return nil, opError(ctx, op, req.ID, err)
	}
	c, err := s.createFromSnapshot(ctx, req, name)
	if err != nil {
		return nil, opError(ctx, op, req.ID, err)
	}
	return s.scope().container(c), nil
}

// checkCreate validates req and returns the image's canonical name.
func (s *DefaultService) checkCreate(req CreateContainerRequest) (name string, err error) {
	err = firstError(
		checkID("ID", req.ID),
		checkText("ImageRef", req.ImageRef),
		checkOptional("SnapshotID", req.SnapshotID),
		checkOptional("Snapshotter", req.Snapshotter),
		checkLabels("Labels", req.Labels, s.config.reservedLabels),
	)
	if err != nil {
		return "", err
	}
	for i, opt := range req.SpecOpts {
		if opt == nil {
			return "", invalid("SpecOpts[%d] is nil", i)
		}
	}
	return pullableName("ImageRef", req.ImageRef)
}

// GetContainer returns the container id, or a not-found error.
func (s *DefaultService) GetContainer(ctx context.Context, id string) (containerd.Container, error) {
	const op = "get container"
	err := checkID("id", id)
	if err == nil {
		ctx, err = s.begin(ctx)
	}
	if err != nil {
		return nil, opError(ctx, op, id, err)
	}
	c, err := s.client.LoadContainer(ctx, id)
	if err != nil {
		return nil, opError(ctx, op, id, err)
	}
	return s.scope().container(c), nil
}

// ListContainers returns all containers of the namespace, in no particular order.
func (s *DefaultService) ListContainers(ctx context.Context) ([]containerd.Container, error) {
	const op = "list containers"
	ctx, err := s.begin(ctx)
	if err != nil {
		return nil, opError(ctx, op, "", err)
	}
	list, err := s.client.Containers(ctx)
	if err != nil {
		return nil, opError(ctx, op, "", err)
	}
	return s.scope().containers(list), nil
}

// ListContainersByLabel returns the containers whose label key has exactly the
// given value; an empty value means that the label is present. The daemon
// applies the filter, in one request.
func (s *DefaultService) ListContainersByLabel(ctx context.Context, key, value string) ([]containerd.Container, error) {
	const op = "list containers by label"
	err := firstError(checkText("key", key), checkOptional("value", value))
	if err == nil {
		ctx, err = s.begin(ctx)
	}
	if err != nil {
		return nil, opError(ctx, op, key, err)
	}
	match := filter.LabelEquals(key, value)
	if value == "" {
		match = filter.LabelPresent(key)
	}
	list, err := s.client.Containers(ctx, match)
	if err != nil {
		return nil, opError(ctx, op, key, err)
	}
	return s.scope().containers(list), nil
}

// load returns the container id with the record it was read from.
func (s *DefaultService) load(ctx context.Context, id string) (containers.Container, error) {
	record, err := s.client.ContainerService().Get(ctx, id)
	if err != nil {
		return record, fmt.Errorf("container: %w", err)
	}
	return record, nil
}
