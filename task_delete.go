package containerd

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
)

// DeleteTaskOptions says which tasks [Service.DeleteTask] deletes. nil and the
// zero value are the same.
type DeleteTaskOptions struct {
	// Force also deletes a running or paused task: it is thawed and killed
	// first. The default deletes only stopped and created ones.
	Force bool
}

// DeleteTask removes the task of the container containerID, which stays. A
// created task, whose program never ran, is killed first.
//
// It returns a not-found error if there is no task or no container, and,
// without opts.Force, a failed-precondition error if the task is running,
// pausing or paused; nothing is changed then. If ctx ends, a killed task may
// be left stopped; a retry removes it.
//
// The output of a task with [StreamIO] or [StdIO] of this service has been
// written when DeleteTask returns nil. A writer that is slow is waited for until
// ctx ends; then the task stays, stopped, and no output is lost. One that never
// returns keeps the task until the service is closed.
func (s *DefaultService) DeleteTask(ctx context.Context, containerID string, opts *DeleteTaskOptions) error {
	const op = "delete task"
	if opts == nil {
		opts = &DeleteTaskOptions{}
	}
	err := checkID("containerID", containerID)
	if err == nil {
		ctx, err = s.begin(ctx)
	}
	if err == nil {
		err = s.deleteTask(ctx, containerID, opts.Force)
	}
	return opError(ctx, op, containerID, err)
}

// deleteTask deletes the task it finds. It gives the lock up while it waits for a
// killed task to exit, or for a writer of its output, and looks again when it has
// it back.
func (s *DefaultService) deleteTask(ctx context.Context, id string, force bool) error {
	var killed *tasktypes.Process
	for {
		p, err := s.deleteEnded(ctx, id, killed)
		if err != nil || p == nil {
			return err
		}
		if p.GetStatus() == tasktypes.Status_STOPPED {
			if err := s.drainStreams(ctx, p); err != nil {
				return err
			}
			continue
		}
		if p.GetStatus() != tasktypes.Status_CREATED && !force {
			return wrongState(p.GetStatus())
		}
		if err := s.killAndWait(ctx, id, p.GetStatus()); err != nil {
			return err
		}
		killed = p
	}
}

// deleteEnded deletes the task if it has stopped and its output was written.
// Otherwise it returns the process that has to be waited for first. After a kill,
// a task that is gone, or that is not the killed one any more, is what was asked
// for.
func (s *DefaultService) deleteEnded(ctx context.Context, id string, killed *tasktypes.Process) (*tasktypes.Process, error) {
	unlock, err := s.lockID(ctx, id)
	if err != nil {
		return nil, err
	}
	defer unlock()
	p, err := s.process(ctx, id, "")
	switch {
	case errdefs.IsNotFound(err) && killed != nil:
		return nil, nil
	case errdefs.IsNotFound(err):
		// An interrupted delete can leave a shim that only deletes see.
		if s.deleteRecordOfTask(ctx, id) == nil {
			return nil, nil
		}
		return nil, err
	case err != nil:
		return nil, err
	case killed != nil && p.GetPid() != killed.GetPid():
		return nil, nil
	case p.GetStatus() != tasktypes.Status_STOPPED:
		return p, nil
	}
	if st := streamsOf(p); st != nil && !st.settled() {
		return p, nil
	}
	return nil, s.removeStopped(ctx, id, p)
}

// removeTask deletes the stopped or created task p, for a caller that holds
// the lock of id.
func (s *DefaultService) removeTask(ctx context.Context, id string, p *tasktypes.Process) error {
	if p.GetStatus() != tasktypes.Status_STOPPED {
		if err := s.killAndWait(ctx, id, p.GetStatus()); err != nil {
			return err
		}
	}
	return s.removeStopped(ctx, id, p)
}

// removeStopped deletes the stopped task p and ends its streams. The request
// is not cut short when ctx ends: half a deletion leaves a shim.
func (s *DefaultService) removeStopped(ctx context.Context, id string, p *tasktypes.Process) error {
	if err := s.drainStreams(ctx, p); err != nil {
		return err
	}
	lasting, cancel := outlive(ctx)
	defer cancel()
	if err := s.deleteRecordOfTask(lasting, id); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("deleting the task: %w", endedBy(ctx, err))
	}
	return endStreams(p)
}

func (s *DefaultService) deleteRecordOfTask(ctx context.Context, id string) error {
	_, err := s.client.TaskService().Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: id})
	return native(err)
}
