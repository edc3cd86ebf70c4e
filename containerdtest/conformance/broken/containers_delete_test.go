package broken_test

import (
	"context"

	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/snapshots"

	"github.com/ctrdkit/containerd"
)

var deleteBugs = []bug{
	{
		name:    "DeleteContainer kills a running task",
		service: func(b broken) containerd.Service { return killsToDelete{b} },
		caught:  []string{"containers/DeleteContainer: a running task is a failed precondition that says so, and nothing is touched"},
		says:    "no error",
		may:     []string{"all methods/DeleteContainerOptions: ", "tasks/StopTask: a stop that waits holds up no other method"},
		works:   []string{"containers/DeleteContainer: a stopped task is deleted with it"},
	},
	{
		name:    "DeleteContainer removes a snapshot that another container uses",
		service: func(b broken) containerd.Service { return removesUsedSnapshot{b} },
		caught:  []string{"containers/DeleteContainer: a snapshot that another container uses stays until that is deleted"},
		says:    "has no snapshot",
		works:   []string{"containers/DeleteContainer: CleanupSnapshot removes the snapshot"},
	},
	{
		name:    "DeleteContainer leaves a kept snapshot to garbage collection",
		service: func(b broken) containerd.Service { return forgetsSnapshot{b} },
		caught:  []string{"containers/DeleteContainer: without CleanupSnapshot the snapshot stays, also after garbage collection"},
		says:    "the snapshot was collected",
		works:   []string{"containers/DeleteContainer: CleanupSnapshot removes the snapshot"},
	},
	{
		name:    "DeleteContainer takes nil options for the zero value",
		service: func(b broken) containerd.Service { return nilKeepsSnapshot{b} },
		caught: []string{
			"all methods/DeleteContainerOptions: nil removes the snapshot, the zero value keeps it",
			"containers/DeleteContainer: nil options remove the record and the snapshot, and nothing else",
		},
		says:  "snapshot",
		may:   []string{"containers/CreateContainer: "},
		works: []string{"containers/DeleteContainer: CleanupSnapshot removes the snapshot"},
	},
}

var snapshotBugs = []bug{
	{
		name:    "PrepareSnapshot leaves the snapshot to garbage collection",
		service: func(b broken) containerd.Service { return unlabelled{b} },
		caught:  []string{"snapshots/PrepareSnapshot: garbage collection keeps the snapshot and its parent until it is removed"},
		says:    "want Active",
		may:     []string{"snapshots/snapshots: "},
		works:   []string{"snapshots/PrepareSnapshot: an existing key is already-exists and stays as it is"},
	},
	{
		name:    "CommitSnapshot commits what a running task writes to",
		service: func(b broken) containerd.Service { return commitsUsed{b} },
		caught: []string{
			"snapshots/CommitSnapshot: a running task on the snapshot is a failed precondition",
			"snapshots/CommitSnapshot: a second container's running task on the snapshot is a failed precondition",
		},
		says:  "no error",
		works: []string{"snapshots/CommitSnapshot: garbage collection keeps the snapshot until it is removed"},
	},
}

type killsToDelete struct{ broken }

func (s killsToDelete) DeleteContainer(ctx context.Context, id string, _ *containerd.DeleteContainerOptions) error {
	ctx = s.in(ctx)
	c, err := s.client.LoadContainer(ctx, id)
	if err != nil {
		return failed("delete container", id, err)
	}
	if task, err := c.Task(ctx, nil); err == nil {
		if _, err := task.Delete(ctx, client.WithProcessKill); err != nil {
			return failed("delete container", id, err)
		}
	}
	return failed("delete container", id, c.Delete(ctx, client.WithSnapshotCleanup))
}

type removesUsedSnapshot struct{ broken }

func (s removesUsedSnapshot) DeleteContainer(ctx context.Context, id string, opts *containerd.DeleteContainerOptions) error {
	if opts != nil && !opts.CleanupSnapshot {
		return s.Service.DeleteContainer(ctx, id, opts)
	}
	c, err := s.client.LoadContainer(s.in(ctx), id)
	if err == nil {
		err = c.Delete(s.in(ctx), client.WithSnapshotCleanup)
	}
	return failed("delete container", id, err)
}

type forgetsSnapshot struct{ broken }

func (s forgetsSnapshot) DeleteContainer(ctx context.Context, id string, opts *containerd.DeleteContainerOptions) error {
	if opts == nil || opts.CleanupSnapshot {
		return s.Service.DeleteContainer(ctx, id, opts)
	}
	c, err := s.client.LoadContainer(s.in(ctx), id)
	if err == nil {
		err = c.Delete(s.in(ctx))
	}
	return failed("delete container", id, err)
}

type nilKeepsSnapshot struct{ broken }

func (s nilKeepsSnapshot) DeleteContainer(ctx context.Context, id string, opts *containerd.DeleteContainerOptions) error {
	if opts == nil {
		opts = &containerd.DeleteContainerOptions{}
	}
	return s.Service.DeleteContainer(ctx, id, opts)
}

type unlabelled struct{ broken }

func (s unlabelled) PrepareSnapshot(ctx context.Context, snapshotter, key, parent string) error {
	_, err := s.client.SnapshotService(snapshotter).Prepare(s.in(ctx), key, parent)
	return failed("prepare snapshot", key, err)
}

type commitsUsed struct{ broken }

func (s commitsUsed) CommitSnapshot(ctx context.Context, snapshotter, name, key string) error {
	label := snapshots.WithLabels(map[string]string{"containerd.io/gc.root": "now"})
	return failed("commit snapshot", key, s.client.SnapshotService(snapshotter).Commit(s.in(ctx), name, key, label))
}
