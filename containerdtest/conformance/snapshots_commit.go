package conformance

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

var commitCases = []testCase{
	{name: "CommitSnapshot: the active snapshot becomes the committed one", run: func(e *env) {
		key, name := e.prepared(), e.id()
		e.ok(e.Service.CommitSnapshot(e.ctx, e.Snapshotter, name, key))
		e.wantSnapshot(name, snapshots.KindCommitted, e.layers())
		e.want(!e.hasSnapshot(e.Snapshotter, key), "the active snapshot is still there")
	}},
	{name: "CommitSnapshot: garbage collection keeps the snapshot until it is removed", run: func(e *env) {
		key, name := e.prepared(), e.id()
		e.ok(e.Service.CommitSnapshot(e.ctx, e.Snapshotter, name, key))
		e.ok(e.Service.DeleteImage(e.ctx, e.Image, &containerd.DeleteImageOptions{Synchronous: true}))
		e.collect()
		e.want(e.hasSnapshot(e.Snapshotter, name), "the snapshot was collected")
	}},
	{name: "CommitSnapshot: an existing name is already-exists and nothing is changed", run: func(e *env) {
		first, second, name := e.prepared(), e.prepared(), e.id()
		e.ok(e.Service.CommitSnapshot(e.ctx, e.Snapshotter, name, first))
		before := e.state()
		e.class(e.Service.CommitSnapshot(e.ctx, e.Snapshotter, name, second), errdefs.IsAlreadyExists, second)
		e.unchanged(before)
	}},
	{name: "CommitSnapshot: the name of an active snapshot is already-exists and nothing is changed", run: func(e *env) {
		first, second := e.prepared(), e.prepared()
		before := e.state()
		e.class(e.Service.CommitSnapshot(e.ctx, e.Snapshotter, first, second), errdefs.IsAlreadyExists, second)
		e.unchanged(before)
	}},
	{name: "CommitSnapshot: a committed snapshot is refused and nothing is changed", run: func(e *env) {
		key := e.layers()
		before := e.state()
		e.class(e.Service.CommitSnapshot(e.ctx, e.Snapshotter, e.id(), key), refusal, key)
		e.unchanged(before)
	}},
	{name: "CommitSnapshot: a view is refused and nothing is changed", run: func(e *env) {
		key := e.view()
		before := e.state()
		e.class(e.Service.CommitSnapshot(e.ctx, e.Snapshotter, e.id(), key), refusal, key)
		e.unchanged(before)
	}},
	{name: "CommitSnapshot: of 32 calls on one key at once exactly one wins", run: func(e *env) {
		key, name := e.prepared(), e.id()
		e.wantOneWinner(concurrently(32, func(i int) error {
			return e.Service.CommitSnapshot(e.ctx, e.Snapshotter, fmt.Sprintf("%s-%d", name, i), key)
		}), errdefs.IsNotFound)
	}},
	{name: "CommitSnapshot: of 32 calls with one name at once exactly one wins", run: func(e *env) {
		name := e.id()
		keys := make([]string, 32)
		for i := range keys {
			keys[i] = e.prepared()
		}
		e.wantOneWinner(concurrently(len(keys), func(i int) error {
			return e.Service.CommitSnapshot(e.ctx, e.Snapshotter, name, keys[i])
		}), errdefs.IsAlreadyExists)
		left := 0
		for _, key := range keys {
			if e.hasSnapshot(e.Snapshotter, key) {
				left++
			}
		}
		e.want(left == 31, "%d active snapshots are left, want 31", left)
	}},
	{name: "CommitSnapshot: a context that ends meanwhile gives the one or the other snapshot", run: commitCutShort},
}

func commitCutShort(e *env) {
	for _, after := range []time.Duration{0, 100, 300, 600, 1000, 1500, 2500, 5000} {
		key, name := e.prepared(), e.id()
		before := e.state()
		ctx, cancel := context.WithTimeout(e.ctx, after*time.Microsecond)
		err := e.Service.CommitSnapshot(ctx, e.Snapshotter, name, key)
		cancel()
		if err != nil {
			e.class(err, isContextEnd, key)
			e.unchanged(before)
			e.ok(e.Service.CommitSnapshot(e.ctx, e.Snapshotter, name, key))
		}
		e.want(e.hasSnapshot(e.Snapshotter, name) && !e.hasSnapshot(e.Snapshotter, key), "the commit is half done")
	}
}

// commitUseCases commit the snapshots of containers.
var commitUseCases = slices.Concat([]testCase{
	{name: "CommitSnapshot: the snapshot of a container without a task is committed", run: func(e *env) {
		id, name := e.create(), e.id()
		e.ok(e.Service.CommitSnapshot(e.ctx, e.Snapshotter, name, id))
		e.want(e.hasSnapshot(e.Snapshotter, name), "the snapshot is not there")
	}},
	{name: "CommitSnapshot: the snapshot of a stopped task is committed", run: func(e *env) {
		id, name := e.stopped("0"), e.id()
		e.ok(e.Service.CommitSnapshot(e.ctx, e.Snapshotter, name, id))
		e.want(e.hasSnapshot(e.Snapshotter, name), "the snapshot is not there")
	}},
	{name: "CommitSnapshot: a second container's running task on the snapshot is a failed precondition", run: func(e *env) {
		first, second := e.create(), e.id()
		e.from(second, first)
		_, err := e.Service.StartTask(e.ctx, second, nil)
		e.ok(err)
		before := e.state()
		e.class(e.Service.CommitSnapshot(e.ctx, e.Snapshotter, e.id(), first), errdefs.IsFailedPrecondition, first)
		e.unchanged(before)
	}},
	{name: "CommitSnapshot: a task on the same key of another snapshotter does not matter", run: func(e *env) {
		id := e.createWith(containerd.CreateContainerRequest{Snapshotter: e.secondSnapshotter()})
		_, err := e.Service.StartTask(e.ctx, id, nil)
		e.ok(err)
		_, err = e.Client.SnapshotService(e.Snapshotter).Prepare(e.raw, id, e.layers(), kept)
		e.ok(err)
		e.ok(e.Service.CommitSnapshot(e.ctx, e.Snapshotter, e.id(), id))
	}},
	{name: "snapshots: a second container sees the files of the first one's committed snapshot", run: secondVersion},
}, commitTaskCases())

// commitTaskCases have a task in each state that has not ended.
func commitTaskCases() (cases []testCase) {
	for _, state := range []struct {
		name string
		make func(e *env) string
	}{
		{"running", func(e *env) string { return e.start() }},
		{"paused", func(e *env) string { return e.paused() }},
		{"created", func(e *env) string { return e.created() }},
	} {
		cases = append(cases, testCase{name: "CommitSnapshot: a " + state.name + " task on the snapshot is a failed precondition", run: func(e *env) {
			id := state.make(e)
			before := e.state()
			e.class(e.Service.CommitSnapshot(e.ctx, e.Snapshotter, e.id(), id), errdefs.IsFailedPrecondition, id)
			e.unchanged(before)
		}})
	}
	return cases
}

// from makes a container over an existing snapshot.
func (e *env) from(id, key string) {
	e.Helper()
	_, err := e.Service.CreateContainerFromSnapshot(e.ctx, containerd.CreateContainerRequest{ID: id, ImageRef: e.Image, SnapshotID: key})
	e.ok(err)
}

func secondVersion(e *env) {
	first, version, key, second := e.startReady(), e.id(), e.id(), e.id()
	e.want(e.sh(first, "echo hello > /written") == 0, "writing failed")
	e.ok(e.Service.StopTask(e.ctx, first, nil))
	e.ok(e.Service.DeleteTask(e.ctx, first, nil))
	e.ok(e.Service.CommitSnapshot(e.ctx, e.Snapshotter, version, first))
	e.ok(e.Service.PrepareSnapshot(e.ctx, e.Snapshotter, key, version))
	e.from(second, key)
	_, err := e.Service.StartTask(e.ctx, second, nil)
	e.ok(err)
	e.want(e.sh(second, "cat /written") == 0, "the second container does not see the file")
	e.ok(e.Service.DeleteContainer(e.ctx, first, nil))
	e.want(e.hasSnapshot(e.Snapshotter, version), "the version went with the first container")
}
