package containerd

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
)

// DeleteContainer removes the container id, with its snapshot as opts say. A
// stopped or never-started task is deleted with it, and so is the log that its
// tasks have. What else is in the log's directory stays, and the directory then.
// Output of the task that this process still has to write is waited for, as
// [DefaultService.DeleteTask] does.
//
// It returns a not-found error if the container does not exist, and a
// failed-precondition error if its task is running or paused, or appears while
// the container is being removed; the container stays then. A snapshot that
// another container uses is kept, one that is gone does not matter. If ctx
// ends, the record may be gone while the snapshot is not: it is then left to
// garbage collection.
func (s *DefaultService) DeleteContainer(ctx context.Context, id string, opts *DeleteContainerOptions) error {
	const op = "delete container"
	if opts == nil {
		opts = &DeleteContainerOptions{CleanupSnapshot: true}
	}
	err := checkID("id", id)
	if err == nil {
		ctx, err = s.begin(ctx)
	}
	if err == nil {
		err = s.deleteContainer(ctx, id, *opts)
	}
	return opError(ctx, op, id, err)
}

// deleteContainer gives the lock up while it waits for a created task that it
// killed, and looks again when it has it back.
func (s *DefaultService) deleteContainer(ctx context.Context, id string, opts DeleteContainerOptions) error {
	for {
		created, err := s.deleteUnlessCreated(ctx, id, opts)
		if err != nil || created == nil {
			return err
		}
		if err := s.killAndWait(ctx, id, created.GetStatus()); err != nil {
			return err
		}
	}
}

// deleteUnlessCreated deletes the container, or returns its task's process if
// that was never started and has to be killed first.
func (s *DefaultService) deleteUnlessCreated(ctx context.Context, id string, opts DeleteContainerOptions) (created *tasktypes.Process, err error) {
	unlock, err := s.lockID(ctx, id)
	if err != nil {
		return nil, err
	}
	defer unlock()
	record, err := s.load(ctx, id)
	if errdefs.IsNotFound(err) {
		// An interrupted delete can leave a record that only deletes see.
		if s.client.ContainerService().Delete(ctx, id) == nil {
			return nil, nil
		}
		return nil, err
	} else if err != nil {
		return nil, err
	}
	p, err := s.process(ctx, id, "")
	switch {
	case errdefs.IsNotFound(err):
	case err != nil:
		return nil, err
	case p.GetStatus() == tasktypes.Status_CREATED:
		return p, nil
	case p.GetStatus() != tasktypes.Status_STOPPED:
		return nil, wrongState(p.GetStatus())
	default:
		if err := s.removeStopped(ctx, id, p); err != nil {
			return nil, err
		}
	}
	return nil, s.deleteTaskless(ctx, record, opts)
}

// deleteTaskless deletes the record of a container without a task, and its
// snapshot as opts say.
func (s *DefaultService) deleteTaskless(ctx context.Context, record containers.Container, opts DeleteContainerOptions) error {
	if !opts.CleanupSnapshot {
		if err := s.keepSnapshot(ctx, record); err != nil {
			return err
		}
	}
	// From here on the way is forward, also when ctx ends: half a deletion
	// would leave a snapshot without its container.
	detached, cancel := detach(ctx)
	defer cancel()
	if err := s.deleteRecord(ctx, detached, record.ID); err != nil {
		return err
	}
	err := s.afterDelete(detached, record, opts)
	if err == nil || errors.Is(err, errTaskAppeared) {
		return err
	}
	u := &undo{}
	u.push("snapshot "+quoted(record.SnapshotKey), func(ctx context.Context) error {
		err := s.afterDelete(ctx, record, opts)
		if errors.Is(err, errTaskAppeared) {
			return nil // the record is back
		}
		return err
	})
	return s.takeBack(detached, record.ID, u, fmt.Errorf("container is deleted: %w", err))
}

// errTaskAppeared is for a task that another program started on a container
// while its record was being deleted.
var errTaskAppeared = fmt.Errorf("another program started a task: %w", errdefs.ErrFailedPrecondition)

// afterDelete does what is to be done once the record is gone: it returns
// errTaskAppeared if a task has, and removes the log, and the snapshot if the
// options say so.
func (s *DefaultService) afterDelete(ctx context.Context, record containers.Container, opts DeleteContainerOptions) error {
	if err := s.checkNoTask(ctx, record); err != nil {
		return err
	}
	err := s.removeLog(record)
	if opts.CleanupSnapshot {
		err = errors.Join(err, s.removeSnapshot(ctx, record))
	}
	return err
}

// deleteRecord deletes the record unless ctx has ended; if the answer is unclear,
// it looks whether the record is gone. The request is not cut short when ctx ends:
// a daemon that has it would delete the record later.
func (s *DefaultService) deleteRecord(ctx, detached context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := s.client.ContainerService().Delete(detached, id)
	if err == nil || errdefs.IsNotFound(err) {
		return nil
	}
	if _, lookErr := s.client.ContainerService().Get(detached, id); errdefs.IsNotFound(lookErr) {
		return nil
	}
	return endedBy(ctx, err)
}

// keepSnapshot protects the container's snapshot before the record that
// protects it goes.
func (s *DefaultService) keepSnapshot(ctx context.Context, record containers.Container) error {
	if record.SnapshotKey == "" {
		return nil
	}
	key, value := gcRoot(s.clock.Now())
	_, err := s.client.SnapshotService(record.Snapshotter).Update(ctx, snapshots.Info{
		Name:   record.SnapshotKey,
		Labels: map[string]string{key: value},
	}, "labels."+key)
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("snapshot %s: %w", quoted(record.SnapshotKey), err)
	}
	return nil
}

// checkNoTask looks, once the record is gone, whether another program has
// started a task meanwhile; if so it writes the record back.
func (s *DefaultService) checkNoTask(ctx context.Context, record containers.Container) error {
	r, err := s.client.TaskService().List(ctx, &tasks.ListTasksRequest{})
	if err != nil {
		return native(err)
	}
	started := slices.ContainsFunc(r.GetTasks(), func(p *tasktypes.Process) bool { return p.GetID() == record.ID })
	if !started {
		return nil
	}
	back, lost := s.client.ContainerService().Create(ctx, record)
	switch {
	case errdefs.IsAlreadyExists(lost):
	case lost != nil:
		return fmt.Errorf("%w (the container's record could not be written back: %s)", errTaskAppeared, lost.Error())
	default:
		if err := s.handOverLog(record, back); err != nil {
			return fmt.Errorf("%w (the container's log: %s)", errTaskAppeared, err.Error())
		}
	}
	return errTaskAppeared
}

// removeSnapshot removes the deleted container's snapshot unless another
// container uses it.
func (s *DefaultService) removeSnapshot(ctx context.Context, record containers.Container) error {
	if record.SnapshotKey == "" {
		return nil
	}
	users, err := s.snapshotUsers(ctx, record.Snapshotter, record.SnapshotKey)
	if err == nil && len(users) == 0 {
		err = s.client.SnapshotService(record.Snapshotter).Remove(ctx, record.SnapshotKey)
	}
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}
