package conformance

import (
	"context"
	"fmt"
	"strings"
	"time"

	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

var (
	cleanUp      = &containerd.DeleteContainerOptions{CleanupSnapshot: true}
	keepSnapshot = &containerd.DeleteContainerOptions{}
)

var deleteContainerCases = []testCase{
	{name: "DeleteContainer: nil options remove the record and the snapshot, and nothing else", run: func(e *env) {
		other := e.create()
		before := e.state()
		id := e.create()
		e.ok(e.Service.DeleteContainer(e.ctx, id, nil))
		e.wantGone(id)
		e.wantContainer(other)
		e.unchanged(before)
	}},
	{name: "DeleteContainer: CleanupSnapshot removes the snapshot", run: func(e *env) {
		id := e.create()
		e.ok(e.Service.DeleteContainer(e.ctx, id, cleanUp))
		e.wantGone(id)
	}},
	{name: "DeleteContainer: without CleanupSnapshot the snapshot stays, also after garbage collection", run: func(e *env) {
		id := e.create()
		e.ok(e.Service.DeleteContainer(e.ctx, id, keepSnapshot))
		e.ok(e.Service.DeleteImage(e.ctx, e.Image, &containerd.DeleteImageOptions{Synchronous: true}))
		e.collect()
		e.want(!e.hasContainer(id), "the container is there")
		e.want(e.hasSnapshot(e.Snapshotter, id), "the snapshot was collected")
	}},
	{name: "DeleteContainer: a kept snapshot has its files, for the next container", run: func(e *env) {
		id := e.start()
		e.want(e.sh(id, "echo hello > /written") == 0, "writing failed")
		e.ok(e.Service.StopTask(e.ctx, id, kill))
		e.ok(e.Service.DeleteContainer(e.ctx, id, keepSnapshot))
		next := e.id()
		e.from(next, id)
		_, err := e.Service.StartTask(e.ctx, next, nil)
		e.ok(err)
		e.wantTrue(next, `[ "$(cat /written)" = hello ]`, containerd.ExecTaskRequest{})
	}},
	{name: "DeleteContainer: a kept snapshot can be removed", run: func(e *env) {
		id := e.create()
		e.ok(e.Service.DeleteContainer(e.ctx, id, keepSnapshot))
		e.ok(e.Client.SnapshotService(e.Snapshotter).Remove(e.raw, id))
	}},
	{name: "DeleteContainer: a snapshot that another container uses stays until that is deleted", run: func(e *env) {
		one, other := e.create(), e.id()
		e.from(other, one)
		e.ok(e.Service.DeleteContainer(e.ctx, one, nil))
		e.want(!e.hasContainer(one), "the container is there")
		e.wantContainer(other)
		e.collect()
		e.wantContainer(other)
		e.ok(e.Service.DeleteContainer(e.ctx, other, nil))
		e.wantGone(one)
	}},
	{name: "DeleteContainer: a snapshot that is already gone does not matter", run: func(e *env) {
		for _, opts := range []*containerd.DeleteContainerOptions{nil, cleanUp, keepSnapshot} {
			id := e.create()
			e.ok(e.Client.SnapshotService(e.Snapshotter).Remove(e.raw, id))
			e.ok(e.Service.DeleteContainer(e.ctx, id, opts))
			e.wantGone(id)
		}
	}},
	{name: "DeleteContainer: a container whose snapshot was committed is deleted, and the version stays", run: func(e *env) {
		id, name := e.create(), e.id()
		e.ok(e.Service.CommitSnapshot(e.ctx, e.Snapshotter, name, id))
		e.ok(e.Service.DeleteContainer(e.ctx, id, nil))
		e.wantGone(id)
		e.want(e.hasSnapshot(e.Snapshotter, name), "the version is gone")
	}},
	{name: "DeleteContainer: the snapshot of the container's own snapshotter is removed, and no other of that key", run: func(e *env) {
		second := e.secondSnapshotter()
		id := e.createWith(containerd.CreateContainerRequest{Snapshotter: second})
		_, err := e.Client.SnapshotService(e.Snapshotter).Prepare(e.raw, id, "", kept)
		e.ok(err)
		e.ok(e.Service.DeleteContainer(e.ctx, id, nil))
		e.want(!e.hasSnapshot(second, id), "the container's snapshot is there")
		e.want(e.hasSnapshot(e.Snapshotter, id), "the other snapshotter's snapshot is gone")
	}},
	{name: "DeleteContainer: a container without a snapshot is deleted", run: func(e *env) {
		id := e.id()
		_, err := e.Client.NewContainer(e.raw, id, client.WithNewSpec())
		e.ok(err)
		e.ok(e.Service.DeleteContainer(e.ctx, id, nil))
		e.want(!e.hasContainer(id), "the container is there")
	}},
	{name: "DeleteContainer: a container that another client made is deleted with its snapshot", run: func(e *env) {
		id, image := e.id(), e.pull()
		_, err := e.Client.NewContainer(e.raw, id, client.WithSnapshotter(e.Snapshotter), client.WithNewSnapshot(id, image), client.WithNewSpec())
		e.ok(err)
		e.ok(e.Service.DeleteContainer(e.ctx, id, nil))
		e.wantGone(id)
	}},
	{name: "DeleteContainer: a second deletion is not found", run: func(e *env) {
		id := e.create()
		e.ok(e.Service.DeleteContainer(e.ctx, id, nil))
		e.class(e.Service.DeleteContainer(e.ctx, id, nil), errdefs.IsNotFound, id)
	}},
	{name: "DeleteContainer: the image stays", run: func(e *env) {
		e.ok(e.Service.DeleteContainer(e.ctx, e.create(), nil))
		e.collect()
		e.want(e.hasImage(e.Image) && e.unpacked(e.Image, e.Snapshotter), "the image or its layers are gone")
	}},
	{name: "DeleteContainer: a context that ends meanwhile leaves the container whole or gone, and a retry works", run: func(e *env) {
		e.deleteCutShort(func() string { return e.create() })
	}},
	{name: "DeleteContainer: a context that ends while a stopped task is deleted leaves the container whole or gone", run: func(e *env) {
		e.deleteCutShort(func() string { return e.stopped("0") })
	}},
}

// deleteCutShort ends deletions after some time. A container that is gone may
// leave its snapshot to garbage collection.
func (e *env) deleteCutShort(create func() string) {
	e.Helper()
	for _, after := range []time.Duration{0, 300, 1000, 2000, 4000, 8000, 16000, 30000, 60000} {
		id := create()
		limit := after * time.Microsecond
		ctx, cancel := context.WithTimeout(e.ctx, limit)
		var err error
		e.within(limit+promptly, "the deletion", func() { err = e.Service.DeleteContainer(ctx, id, nil) })
		cancel()
		e.noLeaseAfter(err)
		if err != nil {
			e.class(err, isContextEnd, id)
			if e.hasContainer(id) {
				e.wantContainer(id)
			}
			e.oneOf(e.Service.DeleteContainer(e.ctx, id, nil), errdefs.IsNotFound)
		}
		e.collect()
		e.wantGone(id)
	}
}

// deleteTaskStateCases have a task in each state.
var deleteTaskStateCases = []testCase{
	{name: "DeleteContainer: a stopped task is deleted with it", run: func(e *env) {
		for _, opts := range []*containerd.DeleteContainerOptions{nil, keepSnapshot} {
			id := e.stopped("3")
			e.ok(e.Service.DeleteContainer(e.ctx, id, opts))
			e.want(!e.hasContainer(id), "the container is there")
			e.noTask(id)
		}
	}},
	{name: "DeleteContainer: a task that was never started is deleted with it", run: func(e *env) {
		for _, opts := range []*containerd.DeleteContainerOptions{nil, keepSnapshot} {
			id := e.created()
			e.ok(e.Service.DeleteContainer(e.ctx, id, opts))
			e.want(!e.hasContainer(id), "the container is there")
			e.noTask(id)
		}
	}},
	{name: "DeleteContainer: a running task is a failed precondition that says so, and nothing is touched", run: func(e *env) {
		e.keepsTask(e.start(), "running")
	}},
	{name: "DeleteContainer: a paused task is a failed precondition that says so, and nothing is touched", run: func(e *env) {
		e.keepsTask(e.paused(), "paused")
	}},
	{name: "DeleteContainer: a container whose task was stopped and deleted goes, step by step", run: func(e *env) {
		id := e.start()
		e.class(e.Service.DeleteContainer(e.ctx, id, nil), errdefs.IsFailedPrecondition, id)
		e.ok(e.Service.StopTask(e.ctx, id, kill))
		e.ok(e.Service.DeleteTask(e.ctx, id, nil))
		e.ok(e.Service.DeleteContainer(e.ctx, id, nil))
		e.wantGone(id)
	}},
}

func (e *env) keepsTask(id, status string) {
	e.Helper()
	before := e.state()
	for _, opts := range []*containerd.DeleteContainerOptions{nil, cleanUp, keepSnapshot} {
		err := e.Service.DeleteContainer(e.ctx, id, opts)
		e.class(err, errdefs.IsFailedPrecondition, id)
		e.want(strings.Contains(err.Error(), status), "the error does not say that the task is %s: %v", status, err)
		e.unchanged(before)
	}
}

// deleteRaceCases run deletions against others and against creates and starts.
var deleteRaceCases = []testCase{
	{name: "DeleteContainer: of 32 calls at once exactly one succeeds, and the others are not found", run: func(e *env) {
		id := e.create()
		e.wantOneWinner(concurrently(32, func(int) error { return e.Service.DeleteContainer(e.ctx, id, nil) }), errdefs.IsNotFound)
		e.wantGone(id)
		e.noLease()
	}},
	{name: "DeleteContainer: creates and deletions of one ID at once leave the container whole or gone", run: func(e *env) {
		e.pull()
		id := e.id()
		for i, err := range concurrently(32, func(i int) error {
			if i%2 == 0 {
				return fails(e.Service.CreateContainer(e.ctx, containerd.CreateContainerRequest{ID: id, ImageRef: e.Image}))
			}
			return e.Service.DeleteContainer(e.ctx, id, nil)
		}) {
			if i%2 == 0 {
				e.oneOf(err, errdefs.IsAlreadyExists)
			} else {
				e.oneOf(err, errdefs.IsNotFound)
			}
		}
		e.noLease()
		if e.hasContainer(id) {
			e.wantOnly(id)
		} else {
			e.wantGone(id)
		}
	}},
	{name: "DeleteContainer: starts and deletions at once leave a running container or nothing", run: func(e *env) {
		id := e.create()
		deleted := 0
		for i, err := range concurrently(32, func(i int) error {
			if i%2 == 0 {
				return fails(e.Service.StartTask(e.ctx, id, nil))
			}
			return e.Service.DeleteContainer(e.ctx, id, nil)
		}) {
			if i%2 == 0 {
				e.oneOf(err, errdefs.IsAlreadyExists, errdefs.IsNotFound)
				continue
			}
			e.oneOf(err, errdefs.IsFailedPrecondition, errdefs.IsNotFound)
			if err == nil {
				deleted++
			}
		}
		if deleted > 0 {
			e.wantGone(id)
			e.noTask(id)
			return
		}
		e.wantContainer(id)
		e.wantStatus(id, "RUNNING")
	}},
	{name: "DeleteContainer: two services on connections of their own that delete one container leave nothing", run: func(e *env) {
		id := e.create()
		services := []containerd.Service{e.Service, containerd.NewDefaultService(e.Client, e.Namespace)}
		for _, err := range concurrently(16, func(i int) error { return services[i%2].DeleteContainer(e.ctx, id, nil) }) {
			e.oneOf(err, errdefs.IsNotFound)
		}
		e.wantGone(id)
	}},
	{name: "DeleteContainer: containers that share a snapshot and go at once take it with them", run: func(e *env) {
		key := e.create()
		ids := []string{key}
		for i := range 7 {
			id := fmt.Sprintf("%s-%d", key, i)
			e.from(id, key)
			ids = append(ids, id)
		}
		for _, err := range concurrently(len(ids), func(i int) error { return e.Service.DeleteContainer(e.ctx, ids[i], nil) }) {
			e.ok(err)
		}
		e.want(!e.hasSnapshot(e.Snapshotter, key), "the snapshot is left")
	}},
}

// listsThatStay lists containers while others are deleted: those that stay
// are in every list.
func (e *env) listsThatStay(list func() []string) {
	e.Helper()
	stay := e.createWith(withLabel("listed", "stays"))
	var going []string
	for range 20 {
		going = append(going, e.createWith(withLabel("listed", "goes")))
	}
	deleted := async(func() error {
		for _, id := range going {
			if err := e.Service.DeleteContainer(e.ctx, id, nil); err != nil {
				return err
			}
		}
		return nil
	})
	for done := false; !done; {
		select {
		case err := <-deleted:
			e.ok(err)
			done = true
		default:
		}
		e.want(strings.Contains(strings.Join(list(), " "), stay), "container %s is not listed", stay)
	}
}

func containerIDs(list []client.Container) (ids []string) {
	for _, c := range list {
		ids = append(ids, c.ID())
	}
	return ids
}
