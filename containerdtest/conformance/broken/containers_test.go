package broken_test

import (
	"context"
	"fmt"
	"slices"

	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/image-spec/identity"

	"github.com/ctrdkit/containerd"
)

// plainCreate are cases that a plain create may fail: it knows neither the
// snapshotter, nor the image's user and stop signal, nor seccomp.
var plainCreate = []string{
	"all methods/the caller's options and request are not written to",
	"containers/image user: ",
	"containers/seccomp: ",
	"containers/DeleteContainer: ",
	"snapshots/CommitSnapshot: a task on the same key of another snapshotter does not matter",
	"tasks/StopTask: without a given signal it is the image's",
	"tasks/StopTask: the image's signal can be a number",
}

var containerBugs = []bug{
	{
		name:    "CreateContainer applies WithSnapshotter after WithNewSnapshot",
		service: func(b broken) containerd.Service { return wrongSnapshotter{b} },
		caught:  []string{"containers/CreateContainer: Snapshotter is where the image is unpacked and the snapshot is made"},
		says:    "there is no snapshot in",
		may:     plainCreate,
		works:   []string{"containers/CreateContainer: the snapshot has the ID as its key and the image's layers as its parent"},
	},
	{
		name:    "CreateContainer leaves the snapshot when it fails",
		service: func(b broken) containerd.Service { return leavesSnapshot{b} },
		caught:  []string{"containers/CreateContainer: a failing SpecOpt leaves nothing, keeps its class, and a retry works"},
		says:    "is left: Active snapshot",
		may:     plainCreate,
		works:   []string{"containers/CreateContainer: the snapshot has the ID as its key and the image's layers as its parent"},
		timing:  true,
	},
	{
		name:    "CreateContainer adopts a snapshot that is there already",
		service: func(b broken) containerd.Service { return adoptsSnapshot{b} },
		caught: []string{
			"containers/CreateContainer: an existing active snapshot is already-exists, says so, and stays as it is",
			"containers/CreateContainer: another container's snapshot key is already-exists",
		},
		says:  "no error",
		may:   plainCreate,
		works: []string{"containers/CreateContainer: the snapshot has the ID as its key and the image's layers as its parent"},
	},
	{
		name:    "CreateContainer overwrites a snapshot that is there already",
		service: func(b broken) containerd.Service { return overwritesSnapshot{b} },
		caught: []string{
			"containers/CreateContainer: a snapshot that PrepareSnapshot made is not taken for a remainder",
			"containers/CreateContainer: another container's snapshot key is already-exists",
		},
		says:  "no error",
		may:   plainCreate,
		works: []string{"containers/CreateContainer: the snapshot has the ID as its key and the image's layers as its parent"},
	},
	{
		name:    "CreateContainer replaces an existing container",
		service: func(b broken) containerd.Service { return replacesContainer{b} },
		caught:  []string{"containers/CreateContainer: an existing container is already-exists and stays as it is"},
		says:    "no error",
		works:   []string{"containers/CreateContainer: an ID whose container was deleted can be used again"},
	},
	{
		name:    "CreateContainer does not unpack a stored image",
		service: func(b broken) containerd.Service { return unpacksOnPullOnly{b} },
		caught:  []string{"containers/CreateContainer: an image that is not unpacked is unpacked"},
		says:    "unexpected error",
		may:     plainCreate,
		works:   []string{"containers/CreateContainer: an absent image is pulled and unpacked"},
	},
	{
		name:    "CreateContainer copies the image's labels",
		service: func(b broken) containerd.Service { return copiesLabels{b} },
		caught:  []string{"containers/CreateContainer: labels are stored as they are given, with nothing of the image's"},
		says:    "got labels",
		may:     []string{"containers/image user: "},
		works:   []string{"containers/CreateContainer: the handle is the stored container's"},
	},
	{
		name:    "ListContainersByLabel ignores the value",
		service: func(b broken) containerd.Service { return ignoresValue{b} },
		caught:  []string{"containers/ListContainersByLabel: another value of the key does not match"},
		says:    "got containers",
		may:     []string{"all methods/a container's handle from ListContainersByLabel"},
		works:   []string{"containers/ListContainersByLabel: an empty value means that the key is present"},
	},
	{
		name:    "ListContainersByLabel does not quote the value",
		service: func(b broken) containerd.Service { return unquotedValue{b} },
		caught: []string{
			"containers/ListContainersByLabel: a value with commas matches exactly",
			"containers/ListContainersByLabel: a value with double quotes matches exactly",
		},
		says:  "got containers",
		may:   []string{"all methods/a container's handle from ListContainersByLabel"},
		works: []string{"containers/ListContainersByLabel: another value of the key does not match"},
	},
	{
		name:    "ListContainersByLabel does not quote the key",
		service: func(b broken) containerd.Service { return unquotedKey{b} },
		caught:  []string{"containers/ListContainersByLabel: labels that are reserved for the daemon can be asked for"},
		may:     []string{"all methods/a container's handle from ListContainersByLabel"},
		works:   []string{"containers/ListContainersByLabel: a label of several must match, the others don't matter"},
	},
}

// stored returns the image that a container is made of. It pulls and unpacks
// one that is absent.
func (b broken) stored(ctx context.Context, req containerd.CreateContainerRequest) (client.Image, error) {
	image, err := b.GetImage(ctx, req.ImageRef)
	if errdefs.IsNotFound(err) {
		return b.PullImage(ctx, req.ImageRef, &containerd.PullImageOptions{Unpack: true})
	}
	return image, err
}

// unpacked returns the same image, whose layers are in the default snapshotter.
func (b broken) unpacked(ctx context.Context, req containerd.CreateContainerRequest) (client.Image, error) {
	image, err := b.stored(ctx, req)
	if err != nil {
		return nil, err
	}
	return image, image.Unpack(ctx, "")
}

// create makes a record as the plain client does it; snapshot are the options
// for its snapshot.
func (b broken) create(ctx context.Context, req containerd.CreateContainerRequest, image client.Image, snapshot ...client.NewContainerOpts) (client.Container, error) {
	spec := slices.DeleteFunc(append([]oci.SpecOpts{settings(image)}, req.SpecOpts...), func(opt oci.SpecOpts) bool { return opt == nil })
	opts := slices.Concat([]client.NewContainerOpts{client.WithImage(image)}, snapshot, []client.NewContainerOpts{
		client.WithContainerLabels(req.Labels),
		client.WithNewSpec(spec...),
	})
	if _, err := b.client.NewContainer(b.in(ctx), req.ID, opts...); err != nil {
		return nil, failed("create container", req.ID, err)
	}
	return b.GetContainer(ctx, req.ID)
}

// settings takes the image's settings over. oci.WithImageConfig mounts the
// image to look for groups in it, which needs root.
func settings(image client.Image) oci.SpecOpts {
	return func(ctx context.Context, _ oci.Client, _ *containers.Container, spec *oci.Spec) error {
		stored, err := image.Spec(ctx)
		if err != nil {
			return err
		}
		spec.Process.Args = slices.Concat(stored.Config.Entrypoint, stored.Config.Cmd)
		spec.Process.Env = stored.Config.Env
		return nil
	}
}

func snapshotKey(req containerd.CreateContainerRequest) string {
	if req.SnapshotID != "" {
		return req.SnapshotID
	}
	return req.ID
}

type wrongSnapshotter struct{ broken }

func (s wrongSnapshotter) CreateContainer(ctx context.Context, req containerd.CreateContainerRequest) (client.Container, error) {
	image, err := s.unpacked(ctx, req)
	if err != nil {
		return nil, failed("create container", req.ID, err)
	}
	snapshot := []client.NewContainerOpts{client.WithNewSnapshot(snapshotKey(req), image)}
	if req.Snapshotter != "" {
		snapshot = append(snapshot, client.WithSnapshotter(req.Snapshotter))
	}
	return s.create(ctx, req, image, snapshot...)
}

type leavesSnapshot struct{ broken }

func (s leavesSnapshot) CreateContainer(ctx context.Context, req containerd.CreateContainerRequest) (client.Container, error) {
	image, err := s.unpacked(ctx, req)
	if err != nil {
		return nil, failed("create container", req.ID, err)
	}
	return s.create(ctx, req, image, client.WithNewSnapshot(snapshotKey(req), image))
}

// prepare makes a snapshot of the image's layers.
func (b broken) prepare(ctx context.Context, key string, image client.Image) error {
	layers, err := image.RootFS(ctx)
	if err != nil {
		return err
	}
	_, err = b.client.SnapshotService("overlayfs").Prepare(b.in(ctx), key, identity.ChainID(layers).String(),
		snapshots.WithLabels(map[string]string{"containerd.io/gc.root": "now"}))
	return err
}

type adoptsSnapshot struct{ broken }

func (s adoptsSnapshot) CreateContainer(ctx context.Context, req containerd.CreateContainerRequest) (client.Container, error) {
	image, err := s.unpacked(ctx, req)
	if err == nil {
		err = s.prepare(ctx, snapshotKey(req), image)
	}
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return nil, failed("create container", req.ID, err)
	}
	return s.create(ctx, req, image, client.WithSnapshot(snapshotKey(req)))
}

type overwritesSnapshot struct{ broken }

func (s overwritesSnapshot) CreateContainer(ctx context.Context, req containerd.CreateContainerRequest) (client.Container, error) {
	image, err := s.unpacked(ctx, req)
	if err == nil {
		err = s.prepare(ctx, snapshotKey(req), image)
	}
	if errdefs.IsAlreadyExists(err) {
		if err = s.client.SnapshotService("overlayfs").Remove(s.in(ctx), snapshotKey(req)); err == nil {
			err = s.prepare(ctx, snapshotKey(req), image)
		}
	}
	if err != nil {
		return nil, failed("create container", req.ID, err)
	}
	return s.create(ctx, req, image, client.WithSnapshot(snapshotKey(req)))
}

type replacesContainer struct{ broken }

func (s replacesContainer) CreateContainer(ctx context.Context, req containerd.CreateContainerRequest) (client.Container, error) {
	if old, err := s.client.LoadContainer(s.in(ctx), req.ID); err == nil {
		if err := old.Delete(s.in(ctx), client.WithSnapshotCleanup); err != nil {
			return nil, failed("create container", req.ID, err)
		}
	}
	return s.Service.CreateContainer(ctx, req)
}

type unpacksOnPullOnly struct{ broken }

func (s unpacksOnPullOnly) CreateContainer(ctx context.Context, req containerd.CreateContainerRequest) (client.Container, error) {
	image, err := s.stored(ctx, req)
	if err != nil {
		return nil, failed("create container", req.ID, err)
	}
	return s.create(ctx, req, image, client.WithNewSnapshot(snapshotKey(req), image))
}

type copiesLabels struct{ broken }

func (s copiesLabels) CreateContainer(ctx context.Context, req containerd.CreateContainerRequest) (client.Container, error) {
	c, err := s.Service.CreateContainer(ctx, req)
	if err != nil {
		return nil, err
	}
	image, err := c.Image(ctx)
	if err != nil {
		return nil, failed("create container", req.ID, err)
	}
	stored, err := image.Spec(ctx)
	if err != nil {
		return nil, failed("create container", req.ID, err)
	}
	_, err = c.SetLabels(ctx, stored.Config.Labels)
	return c, failed("create container", req.ID, err)
}

// filtered lists containers with a filter of the daemon.
func (b broken) filtered(ctx context.Context, key, filter string) ([]client.Container, error) {
	list, err := b.client.Containers(b.in(ctx), filter)
	return list, failed("list containers by label", key, err)
}

type ignoresValue struct{ broken }

func (s ignoresValue) ListContainersByLabel(ctx context.Context, key, _ string) ([]client.Container, error) {
	return s.filtered(ctx, key, fmt.Sprintf("labels.%q", key))
}

type unquotedValue struct{ broken }

func (s unquotedValue) ListContainersByLabel(ctx context.Context, key, value string) ([]client.Container, error) {
	if value == "" {
		return s.filtered(ctx, key, fmt.Sprintf("labels.%q", key))
	}
	return s.filtered(ctx, key, fmt.Sprintf("labels.%q==%s", key, value))
}

type unquotedKey struct{ broken }

func (s unquotedKey) ListContainersByLabel(ctx context.Context, key, value string) ([]client.Container, error) {
	if value == "" {
		return s.filtered(ctx, key, "labels."+key)
	}
	return s.filtered(ctx, key, fmt.Sprintf("labels.%s==%q", key, value))
}
