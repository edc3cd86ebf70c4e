package conformance

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/image-spec/identity"

	"github.com/ctrdkit/containerd"
)

// snapshotCases are the contract of SnapshotService.
var snapshotCases = slices.Concat(prepareCases, commitCases, commitUseCases, mountsCases)

// kept is the label that keeps a case's own snapshots.
var kept = snapshots.WithLabels(map[string]string{"containerd.io/gc.root": "now"})

// layers returns the committed snapshot of the image's layers.
func (e *env) layers() string {
	e.Helper()
	ids, err := e.pull().RootFS(e.raw)
	e.ok(err)
	return identity.ChainID(ids).String()
}

// prepared makes an active snapshot of the image with the plain client.
func (e *env) prepared() string {
	e.Helper()
	key := e.id()
	_, err := e.Client.SnapshotService(e.Snapshotter).Prepare(e.raw, key, e.layers(), kept)
	e.ok(err)
	return key
}

// view makes a read-only snapshot of the image with the plain client.
func (e *env) view() string {
	e.Helper()
	key := e.id()
	_, err := e.Client.SnapshotService(e.Snapshotter).View(e.raw, key, e.layers(), kept)
	e.ok(err)
	return key
}

// wantSnapshot checks a snapshot's kind and parent.
func (e *env) wantSnapshot(key string, kind snapshots.Kind, parent string) {
	e.Helper()
	info, ok := e.snapshot(key)
	e.want(ok && info.Kind == kind && info.Parent == parent, "snapshot %s is %+v, want %s on %s", key, info, kind, parent)
}

// oddKeys are names that containerd takes as they are.
func (e *env) oddKeys() []string {
	id := e.id()
	return []string{id + "/a/b", "../../" + id, "/" + id, id + "/..", id + " space", id + `"\`, "ü" + id, id + ":v1@sha256", id + "\n"}
}

var prepareCases = []testCase{
	{name: "PrepareSnapshot: makes an active snapshot on the parent", run: func(e *env) {
		parent, key := e.layers(), e.id()
		e.ok(e.Service.PrepareSnapshot(e.ctx, e.Snapshotter, key, parent))
		e.wantSnapshot(key, snapshots.KindActive, parent)
	}},
	{name: "PrepareSnapshot: garbage collection keeps the snapshot and its parent until it is removed", run: func(e *env) {
		parent, key := e.layers(), e.id()
		e.ok(e.Service.PrepareSnapshot(e.ctx, e.Snapshotter, key, parent))
		e.ok(e.Service.DeleteImage(e.ctx, e.Image, &containerd.DeleteImageOptions{Synchronous: true}))
		e.collect()
		e.wantSnapshot(key, snapshots.KindActive, parent)
		e.ok(e.Client.SnapshotService(e.Snapshotter).Remove(e.raw, key))
		e.collect()
		e.want(!e.hasSnapshot(e.Snapshotter, parent), "the parent outlives it")
	}},
	{name: "PrepareSnapshot: an existing key is already-exists and stays as it is", run: func(e *env) {
		key := e.prepared()
		parent, before := e.layers(), e.state()
		e.class(e.Service.PrepareSnapshot(e.ctx, e.Snapshotter, key, parent), errdefs.IsAlreadyExists, key)
		e.unchanged(before)
	}},
	{name: "PrepareSnapshot: a key that it made itself is already-exists and stays as it is", run: func(e *env) {
		parent, key := e.layers(), e.id()
		e.ok(e.Service.PrepareSnapshot(e.ctx, e.Snapshotter, key, parent))
		before := e.state()
		e.class(e.Service.PrepareSnapshot(e.ctx, e.Snapshotter, key, parent), errdefs.IsAlreadyExists, key)
		e.unchanged(before)
	}},
	{name: "PrepareSnapshot: the key of a committed snapshot is already-exists", run: func(e *env) {
		parent := e.layers()
		before := e.state()
		e.class(e.Service.PrepareSnapshot(e.ctx, e.Snapshotter, parent, parent), errdefs.IsAlreadyExists, parent)
		e.unchanged(before)
	}},
	{name: "PrepareSnapshot: an active parent is refused and nothing is made", run: func(e *env) {
		parent, key := e.prepared(), e.id()
		before := e.state()
		e.class(e.Service.PrepareSnapshot(e.ctx, e.Snapshotter, key, parent), refusal, key)
		e.unchanged(before)
	}},
	{name: "PrepareSnapshot: a view as a parent is refused and nothing is made", run: func(e *env) {
		parent, key := e.view(), e.id()
		before := e.state()
		e.class(e.Service.PrepareSnapshot(e.ctx, e.Snapshotter, key, parent), refusal, key)
		e.unchanged(before)
	}},
	{name: "PrepareSnapshot: the snapshotter is the one that is named", run: func(e *env) {
		second := e.secondSnapshotter()
		_, err := e.Service.PullImage(e.ctx, e.Image, &containerd.PullImageOptions{Unpack: true, Snapshotter: second})
		e.ok(err)
		parent, key := e.layers(), e.id()
		e.ok(e.Service.PrepareSnapshot(e.ctx, second, key, parent))
		e.want(e.hasSnapshot(second, key) && !e.hasSnapshot(e.Snapshotter, key), "the snapshot is elsewhere")
	}},
	{name: "snapshots: keys and names are passed as they are, slashes and dots included", run: func(e *env) {
		parent := e.layers()
		for _, key := range e.oddKeys() {
			e.ok(e.Service.PrepareSnapshot(e.ctx, e.Snapshotter, key, parent))
			e.wantSnapshot(key, snapshots.KindActive, parent)
			mounts, err := e.Service.SnapshotMounts(e.ctx, e.Snapshotter, key)
			e.ok(err)
			e.want(len(mounts) > 0, "%q has no mounts", key)
			e.ok(e.Service.CommitSnapshot(e.ctx, e.Snapshotter, key+"/committed", key))
			e.wantSnapshot(key+"/committed", snapshots.KindCommitted, parent)
		}
	}},
	{name: "PrepareSnapshot: of 32 calls on one key at once exactly one wins", run: func(e *env) {
		parent, key := e.layers(), e.id()
		e.wantOneWinner(concurrently(32, func(int) error {
			return e.Service.PrepareSnapshot(e.ctx, e.Snapshotter, key, parent)
		}), errdefs.IsAlreadyExists)
		e.wantSnapshot(key, snapshots.KindActive, parent)
		e.collect()
		e.wantSnapshot(key, snapshots.KindActive, parent)
	}},
	{name: "PrepareSnapshot: a context that ends meanwhile gives the snapshot or nothing, and a retry works", run: prepareCutShort},
}

// refusal is the class of a snapshot that is of the wrong kind.
func refusal(err error) bool {
	return errdefs.IsInvalidArgument(err) || errdefs.IsFailedPrecondition(err)
}

// wantOneWinner checks that exactly one call succeeded and the others have the class.
func (e *env) wantOneWinner(errs []error, is func(error) bool) {
	e.Helper()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		}
		e.oneOf(err, is)
	}
	e.want(won == 1, "%d calls succeeded, want 1", won)
}

func prepareCutShort(e *env) {
	parent := e.layers()
	for i, after := range []time.Duration{0, 100, 300, 600, 1000, 1500, 2500, 5000} {
		key := fmt.Sprintf("%s-%d", e.id(), i)
		before := e.state()
		ctx, cancel := context.WithTimeout(e.ctx, after*time.Microsecond)
		err := e.Service.PrepareSnapshot(ctx, e.Snapshotter, key, parent)
		cancel()
		if err != nil {
			e.class(err, isContextEnd, key)
			e.unchanged(before)
			e.ok(e.Service.PrepareSnapshot(e.ctx, e.Snapshotter, key, parent))
		}
		e.wantSnapshot(key, snapshots.KindActive, parent)
	}
}

var mountsCases = []testCase{
	{name: "SnapshotMounts: an active snapshot's mounts are the daemon's", run: func(e *env) { e.wantMounts(e.prepared()) }},
	{name: "SnapshotMounts: a view's mounts are the daemon's", run: func(e *env) { e.wantMounts(e.view()) }},
	{name: "SnapshotMounts: a container's snapshot has mounts while its task runs", run: func(e *env) { e.wantMounts(e.start()) }},
	{name: "SnapshotMounts: a committed snapshot has none: an error with a class", run: func(e *env) {
		parent := e.layers()
		_, err := e.Service.SnapshotMounts(e.ctx, e.Snapshotter, parent)
		e.class(err, classified, parent)
	}},
	{name: "SnapshotMounts: the snapshot stays as it is, and nothing is mounted", run: func(e *env) {
		key := e.prepared()
		before := e.state()
		_, err := e.Service.SnapshotMounts(e.ctx, e.Snapshotter, key)
		e.ok(err)
		e.unchanged(before)
		e.ok(e.Client.SnapshotService(e.Snapshotter).Remove(e.raw, key))
	}},
}

func (e *env) wantMounts(key string) {
	e.Helper()
	want, err := e.Client.SnapshotService(e.Snapshotter).Mounts(e.raw, key)
	e.ok(err)
	got, err := e.Service.SnapshotMounts(e.ctx, e.Snapshotter, key)
	e.ok(err)
	e.want(fmt.Sprint(got) == fmt.Sprint(want), "got %v, want %v", got, want)
}
