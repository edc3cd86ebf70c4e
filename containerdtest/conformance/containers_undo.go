package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

// createUndoCases fail or end a create half way: it is all or nothing.
var createUndoCases = []testCase{
	{name: "CreateContainer: a failing SpecOpt leaves nothing, keeps its class, and a retry works", run: func(e *env) {
		e.pull()
		req := containerd.CreateContainerRequest{SpecOpts: failing(fmt.Errorf("no device: %w", errdefs.ErrNotFound))}
		e.nothingFrom(req, errdefs.IsNotFound)
		e.nothingFrom(req, errdefs.IsNotFound)
		e.create()
	}},
	{name: "CreateContainer: the same ID works right after a failing SpecOpt", run: func(e *env) {
		id := e.id()
		_, err := e.Service.CreateContainer(e.ctx, containerd.CreateContainerRequest{ID: id, ImageRef: e.Image, SpecOpts: failing(errdefs.ErrNotFound)})
		e.class(err, errdefs.IsNotFound, id)
		e.wantGone(id)
		e.wantContainer(e.createWith(containerd.CreateContainerRequest{ID: id}))
	}},
	{name: "CreateContainer: a SpecOpt's own error is found with errors.Is, and its class is internal", run: func(e *env) {
		e.pull()
		own := errors.New("own")
		e.nothingFrom(containerd.CreateContainerRequest{SpecOpts: failing(own)}, errdefs.IsInternal, func(err error) {
			e.want(errors.Is(err, own), "got %v", err)
		})
	}},
	{name: "CreateContainer: a failing SpecOpt in the second snapshotter leaves nothing there", run: func(e *env) {
		second := e.secondSnapshotter()
		_, err := e.Service.PullImage(e.ctx, e.Image, &containerd.PullImageOptions{Unpack: true, Snapshotter: second})
		e.ok(err)
		e.nothingFrom(containerd.CreateContainerRequest{Snapshotter: second, SpecOpts: failing(errdefs.ErrNotFound)}, errdefs.IsNotFound)
	}},
	{name: "CreateContainer: a nil SpecOpt is an invalid argument and leaves nothing", run: func(e *env) {
		e.invalidCreate(containerd.CreateContainerRequest{SpecOpts: []oci.SpecOpts{nil}}, "SpecOpts")
	}},
	{name: "CreateContainer: an argument with NUL is an invalid argument and leaves nothing", run: func(e *env) {
		e.invalidCreate(containerd.CreateContainerRequest{SpecOpts: []oci.SpecOpts{oci.WithProcessArgs("echo", "a\x00b")}}, "Args")
	}},
	{name: "CreateContainer: an argument of 128 KiB is an invalid argument and leaves nothing", run: func(e *env) {
		e.invalidCreate(containerd.CreateContainerRequest{SpecOpts: []oci.SpecOpts{oci.WithProcessArgs("echo", strings.Repeat("a", 128<<10))}}, "Args")
	}},
	{name: "CreateContainer: an environment string with NUL is an invalid argument and leaves nothing", run: func(e *env) {
		e.invalidCreate(containerd.CreateContainerRequest{SpecOpts: []oci.SpecOpts{oci.WithEnv([]string{"A=a\x00b"})}}, "Env")
	}},
	{name: "CreateContainer: an environment string of 128 KiB is an invalid argument and leaves nothing", run: func(e *env) {
		e.invalidCreate(containerd.CreateContainerRequest{SpecOpts: []oci.SpecOpts{oci.WithEnv([]string{"A=" + strings.Repeat("a", 128<<10)})}}, "Env")
	}},
	{name: "CreateContainer: a working directory with NUL is an invalid argument and leaves nothing", run: func(e *env) {
		e.invalidCreate(containerd.CreateContainerRequest{SpecOpts: []oci.SpecOpts{oci.WithProcessCwd("/a\x00b")}}, "Cwd")
	}},
	{name: "CreateContainer: more arguments than a message takes is an error with a class and leaves nothing", run: func(e *env) {
		e.pull()
		args := make([]string, 200_000)
		for i := range args {
			args[i] = strings.Repeat("a", 100)
		}
		e.nothingFrom(containerd.CreateContainerRequest{SpecOpts: []oci.SpecOpts{oci.WithProcessArgs(args...)}}, classified)
	}},
	{name: "CreateContainer: a context that is cancelled during SpecOpts leaves nothing", run: func(e *env) {
		e.pull()
		before, id := e.state(), e.id()
		ctx, cancel := context.WithCancel(e.ctx)
		defer cancel()
		cancels := func(context.Context, oci.Client, *containers.Container, *oci.Spec) error { cancel(); return nil }
		_, err := e.Service.CreateContainer(ctx, containerd.CreateContainerRequest{ID: id, ImageRef: e.Image, SpecOpts: []oci.SpecOpts{cancels}})
		e.class(err, isContextEnd, id)
		e.unchanged(before)
	}},
	{name: "CreateContainer: a SpecOpt that waits is ended with the context, and nothing is left", run: func(e *env) {
		e.pull()
		before, id := e.state(), e.id()
		ctx, cancel := context.WithTimeout(e.ctx, 100*time.Millisecond)
		defer cancel()
		waits := func(ctx context.Context, _ oci.Client, _ *containers.Container, _ *oci.Spec) error {
			<-ctx.Done()
			return ctx.Err()
		}
		e.within(100*time.Millisecond+promptly, "the create", func() {
			_, err := e.Service.CreateContainer(ctx, containerd.CreateContainerRequest{ID: id, ImageRef: e.Image, SpecOpts: []oci.SpecOpts{waits}})
			e.class(err, isContextEnd, id)
		})
		e.unchanged(before)
	}},
	{name: "CreateContainer: a context that ends meanwhile gives the container or nothing, and a retry works", run: func(e *env) {
		e.pull()
		createCutShort(e, []time.Duration{0, 200, 500, 1000, 2000, 3500, 5000, 8000, 12000, 20000})
	}},
	{name: "CreateContainer: a context that ends while the image is unpacked leaves no snapshot and no lease", run: func(e *env) {
		for _, after := range []time.Duration{1, 5, 20, 60, 150} {
			_, err := e.Service.PullImage(e.ctx, e.Image, &containerd.PullImageOptions{})
			e.ok(err)
			createCutShort(e, []time.Duration{after * 1000})
			e.ok(e.Service.DeleteImage(e.ctx, e.Image, &containerd.DeleteImageOptions{Synchronous: true}))
		}
	}},
}

// failing returns a SpecOpt that fails after the snapshot was made.
func failing(err error) []oci.SpecOpts {
	return []oci.SpecOpts{func(context.Context, oci.Client, *containers.Container, *oci.Spec) error { return err }}
}

// createCutShort ends creates after so many microseconds, and removes what they made.
func createCutShort(e *env, times []time.Duration) {
	for _, after := range times {
		id := e.id()
		req := containerd.CreateContainerRequest{ID: id, ImageRef: e.Image}
		limit := after * time.Microsecond
		ctx, cancel := context.WithTimeout(e.ctx, limit)
		var err error
		e.within(limit+promptly, "the create", func() { _, err = e.Service.CreateContainer(ctx, req) })
		cancel()
		e.noLeaseAfter(err)
		if err != nil {
			e.class(err, isContextEnd, id)
			e.wantGone(id)
			_, err = e.Service.CreateContainer(e.ctx, req)
			e.ok(err)
		}
		e.wantContainer(id)
		e.ok(e.Service.DeleteContainer(e.ctx, id, nil))
		e.wantGone(id)
	}
}

// createRaceCases run many creates at once.
var createRaceCases = []testCase{
	{name: "CreateContainer: of 32 calls on one ID at once exactly one wins, and nothing else is left", run: func(e *env) {
		id := e.id()
		e.wantOneWinner(concurrently(32, func(int) error {
			return fails(e.Service.CreateContainer(e.ctx, containerd.CreateContainerRequest{ID: id, ImageRef: e.Image}))
		}), errdefs.IsAlreadyExists)
		e.wantOnly(id)
	}},
	{name: "CreateContainer: of 32 calls on one ID with snapshots of their own exactly one wins, and one snapshot is left", run: func(e *env) {
		id := e.id()
		e.wantOneWinner(concurrently(32, func(i int) error {
			return fails(e.Service.CreateContainer(e.ctx, containerd.CreateContainerRequest{
				ID: id, ImageRef: e.Image, SnapshotID: fmt.Sprintf("%s/%d", id, i),
			}))
		}), errdefs.IsAlreadyExists)
		e.wantOnly(id)
	}},
	{name: "CreateContainer: of 32 calls on one snapshot key exactly one wins, and nothing else is left", run: func(e *env) {
		key := e.id()
		e.wantOneWinner(concurrently(32, func(i int) error {
			return fails(e.Service.CreateContainer(e.ctx, containerd.CreateContainerRequest{
				ID: fmt.Sprintf("%s-%d", key, i), ImageRef: e.Image, SnapshotID: key,
			}))
		}), errdefs.IsAlreadyExists)
		list, err := e.Client.ContainerService().List(e.raw)
		e.ok(err)
		e.want(len(list) == 1 && list[0].SnapshotKey == key, "got %d containers", len(list))
		e.wantOnly(list[0].ID)
	}},
	{name: "CreateContainer: two services on connections of their own that race for one ID leave one container", run: func(e *env) {
		e.pull()
		id := e.id()
		services := []containerd.Service{e.Service, containerd.NewDefaultService(e.Client, e.Namespace)}
		e.wantOneWinner(concurrently(16, func(i int) error {
			return fails(services[i%2].CreateContainer(e.ctx, containerd.CreateContainerRequest{ID: id, ImageRef: e.Image}))
		}), errdefs.IsAlreadyExists)
		e.wantOnly(id)
	}},
	{name: "CreateContainer: 32 containers at once are all made", run: func(e *env) {
		ids := make([]string, 32)
		for i := range ids {
			ids[i] = e.id()
		}
		for _, err := range concurrently(len(ids), func(i int) error {
			return fails(e.Service.CreateContainer(e.ctx, containerd.CreateContainerRequest{ID: ids[i], ImageRef: e.Image}))
		}) {
			e.ok(err)
		}
		list, err := e.Service.ListContainers(e.ctx)
		e.ok(err)
		e.wantIDs(list, ids...)
	}},
}

// wantOnly checks that the container, its snapshot and the image's layers are
// all that there is.
func (e *env) wantOnly(id string) {
	e.Helper()
	e.noLease()
	e.wantContainer(id)
	list, err := e.Client.ContainerService().List(e.raw)
	e.ok(err)
	e.want(len(list) == 1, "got %d containers, want 1", len(list))
	active := 0
	for _, line := range e.snapshotState(e.Snapshotter) {
		if strings.HasPrefix(line, "Active ") {
			active++
		}
	}
	e.want(active == 1, "got %d active snapshots, want 1", active)
}
