package conformance

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

var fromSnapshotCases = []testCase{
	{name: "CreateContainerFromSnapshot: the container is over the given snapshot, and sees its files", run: func(e *env) {
		first, id := e.start(), e.id()
		e.want(e.sh(first, "echo hello > /written") == 0, "writing failed")
		e.ok(e.Service.DeleteTask(e.ctx, first, forced))
		e.from(id, first)
		record := e.record(id)
		e.want(record.SnapshotKey == first && record.Snapshotter == e.Snapshotter, "the record names %s/%s", record.Snapshotter, record.SnapshotKey)
		_, err := e.Service.StartTask(e.ctx, id, nil)
		e.ok(err)
		e.wantTrue(id, `[ "$(cat /written)" = hello ]`, containerd.ExecTaskRequest{})
	}},
	{name: "CreateContainerFromSnapshot: no snapshot is made", run: func(e *env) {
		key := e.prepared()
		before := e.snapshotState(e.Snapshotter)
		e.from(e.id(), key)
		e.want(slices.Equal(e.snapshotState(e.Snapshotter), before), "snapshots became %v", e.snapshotState(e.Snapshotter))
	}},
	{name: "CreateContainerFromSnapshot: process settings come from the image, labels from the request", run: func(e *env) {
		id, labels := e.id(), map[string]string{"a.b/c": "x y"}
		_, err := e.Service.CreateContainerFromSnapshot(e.ctx, containerd.CreateContainerRequest{
			ID: id, ImageRef: e.Image, SnapshotID: e.prepared(), Labels: maps.Clone(labels),
		})
		e.ok(err)
		record, other := e.record(id), e.record(e.create())
		e.want(maps.Equal(record.Labels, labels), "got labels %v", record.Labels)
		got, want := e.spec(record).Process, e.spec(other).Process
		e.want(slices.Equal(got.Args, want.Args) && slices.Equal(got.Env, want.Env) && got.Cwd == want.Cwd, "got %+v, want %+v", got, want)
		e.want(record.Image == e.Image, "the record has image %s", record.Image)
	}},
	{name: "CreateContainerFromSnapshot: an absent image is pulled and not unpacked", run: func(e *env) {
		key := e.prepared()
		e.ok(e.Service.DeleteImage(e.ctx, e.Image, nil))
		e.from(e.id(), key)
		e.want(e.hasImage(e.Image), "the image is not there")
	}},
	{name: "CreateContainerFromSnapshot: Snapshotter is where the snapshot is looked for", run: func(e *env) {
		second, key, id := e.secondSnapshotter(), e.id(), e.id()
		_, err := e.Client.SnapshotService(second).Prepare(e.raw, key, "", kept)
		e.ok(err)
		req := containerd.CreateContainerRequest{ID: id, ImageRef: e.Image, SnapshotID: key}
		_, err = e.Service.CreateContainerFromSnapshot(e.ctx, req)
		e.class(err, errdefs.IsNotFound, id)
		req.Snapshotter = second
		_, err = e.Service.CreateContainerFromSnapshot(e.ctx, req)
		e.ok(err)
		e.want(e.record(id).Snapshotter == second, "the record names %s", e.record(id).Snapshotter)
	}},
	{name: "CreateContainerFromSnapshot: keys are passed as they are, slashes and dots included", run: func(e *env) {
		parent := e.layers()
		for _, key := range e.oddKeys() {
			e.ok(e.Service.PrepareSnapshot(e.ctx, e.Snapshotter, key, parent))
			id := e.id()
			e.from(id, key)
			e.want(e.record(id).SnapshotKey == key, "the record names %q, want %q", e.record(id).SnapshotKey, key)
		}
	}},
	{name: "CreateContainerFromSnapshot: two containers can share a snapshot", run: func(e *env) {
		key, one, other := e.prepared(), e.id(), e.id()
		e.from(one, key)
		e.from(other, key)
		e.wantContainer(one)
		e.wantContainer(other)
	}},
	{name: "CreateContainerFromSnapshot: garbage collection keeps the snapshot while the container exists", run: func(e *env) {
		parent, key, id := e.layers(), e.id(), e.id()
		ctx, done, err := e.Client.WithLease(e.raw)
		e.ok(err)
		_, err = e.Client.SnapshotService(e.Snapshotter).Prepare(ctx, key, parent)
		e.ok(err)
		e.from(id, key)
		e.ok(done(leases.WithLease(e.raw, "")))
		e.ok(e.Client.ImageService().Delete(e.raw, e.Image, images.SynchronousDelete()))
		e.collect()
		e.wantContainer(id)
	}},
	{name: "CreateContainerFromSnapshot: a committed snapshot is a failed precondition that says so, and stays as it is", run: func(e *env) {
		e.refusedSnapshot(e.layers(), "committed")
	}},
	{name: "CreateContainerFromSnapshot: a view is a failed precondition that says so, and stays as it is", run: func(e *env) {
		e.refusedSnapshot(e.view(), "view")
	}},
	{name: "CreateContainerFromSnapshot: an existing container is already-exists, and both stay as they are", run: func(e *env) {
		id, key := e.create(), e.prepared()
		before := e.state()
		_, err := e.Service.CreateContainerFromSnapshot(e.ctx, containerd.CreateContainerRequest{ID: id, ImageRef: e.Image, SnapshotID: key})
		e.class(err, errdefs.IsAlreadyExists, id)
		e.unchanged(before)
	}},
	{name: "CreateContainerFromSnapshot: a failing SpecOpt leaves the snapshot as it is, and nothing else", run: func(e *env) {
		key, id := e.prepared(), e.id()
		before := e.state()
		_, err := e.Service.CreateContainerFromSnapshot(e.ctx, containerd.CreateContainerRequest{
			ID: id, ImageRef: e.Image, SnapshotID: key, SpecOpts: failing(errdefs.ErrNotFound),
		})
		e.class(err, errdefs.IsNotFound, id)
		e.unchanged(before)
		e.from(id, key)
	}},
	{name: "CreateContainerFromSnapshot: an image that the registry does not have leaves the snapshot as it is", run: func(e *env) {
		key, id := e.prepared(), e.id()
		before := e.state()
		_, err := e.Service.CreateContainerFromSnapshot(e.ctx, containerd.CreateContainerRequest{ID: id, ImageRef: e.Image + "-" + id, SnapshotID: key})
		e.class(err, errdefs.IsNotFound, id)
		e.unchanged(before)
	}},
	{name: "CreateContainerFromSnapshot: a context that ends meanwhile gives the container or nothing, and keeps the snapshot", run: fromSnapshotCutShort},
	{name: "CreateContainerFromSnapshot: of 32 calls on one ID at once exactly one wins, and every snapshot stays", run: func(e *env) {
		id, keys := e.id(), make([]string, 32)
		for i := range keys {
			keys[i] = e.prepared()
		}
		e.wantOneWinner(concurrently(len(keys), func(i int) error {
			return fails(e.Service.CreateContainerFromSnapshot(e.ctx, containerd.CreateContainerRequest{ID: id, ImageRef: e.Image, SnapshotID: keys[i]}))
		}), errdefs.IsAlreadyExists)
		for _, key := range keys {
			e.want(e.hasSnapshot(e.Snapshotter, key), "snapshot %s is gone", key)
		}
		e.noLease()
	}},
}

// refusedSnapshot checks that no container is made over a snapshot of the wrong kind.
func (e *env) refusedSnapshot(key, kind string) {
	e.Helper()
	id := e.id()
	before := e.state()
	_, err := e.Service.CreateContainerFromSnapshot(e.ctx, containerd.CreateContainerRequest{ID: id, ImageRef: e.Image, SnapshotID: key})
	e.class(err, errdefs.IsFailedPrecondition, id)
	e.want(strings.Contains(strings.ToLower(err.Error()), kind), "the error does not say that the snapshot is %s: %v", kind, err)
	e.unchanged(before)
}

func fromSnapshotCutShort(e *env) {
	key := e.prepared()
	for i, after := range []time.Duration{0, 200, 500, 1000, 2000, 3500, 5000, 8000, 12000, 20000} {
		id := fmt.Sprintf("%s-%d", e.id(), i)
		req := containerd.CreateContainerRequest{ID: id, ImageRef: e.Image, SnapshotID: key}
		limit := after * time.Microsecond
		ctx, cancel := context.WithTimeout(e.ctx, limit)
		var err error
		e.within(limit+promptly, "the create", func() { _, err = e.Service.CreateContainerFromSnapshot(ctx, req) })
		cancel()
		e.noLeaseAfter(err)
		e.want(e.hasSnapshot(e.Snapshotter, key), "the snapshot is gone")
		if err != nil {
			e.class(err, isContextEnd, id)
			e.want(!e.hasContainer(id), "container %s is there", id)
			_, err = e.Service.CreateContainerFromSnapshot(e.ctx, req)
			e.ok(err)
		}
		e.wantContainer(id)
	}
}
