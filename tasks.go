package containerd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// GetTask returns the task of the container containerID, running or not. It
// returns a not-found error if there is no such task or container. The handle
// is not attached to the task's streams.
func (s *DefaultService) GetTask(ctx context.Context, containerID string) (containerd.Task, error) {
	const op = "get task"
	err := checkID("containerID", containerID)
	if err == nil {
		ctx, err = s.begin(ctx)
	}
	if err != nil {
		return nil, opError(ctx, op, containerID, err)
	}
	task, err := s.task(ctx, containerID)
	if err != nil {
		return nil, opError(ctx, op, containerID, err)
	}
	return s.scope().task(task), nil
}

// task loads the task: the daemon refuses it if the container does not exist,
// so the container's record is not asked for.
func (s *DefaultService) task(ctx context.Context, containerID string) (containerd.Task, error) {
	c, store, err := s.recorded(ctx, containers.Container{ID: containerID})
	if err != nil {
		return nil, err
	}
	store.open()
	task, err := c.Task(ctx, cio.Load)
	if err != nil {
		return nil, silentShim(ctx, err)
	}
	return task, nil
}

// kill sends a signal to a task's process, or with all to all of them.
func (s *DefaultService) kill(ctx context.Context, containerID string, signal uint32, all bool) error {
	_, err := s.client.TaskService().Kill(ctx, &tasks.KillRequest{ContainerID: containerID, Signal: signal, All: all})
	return native(err)
}

// killAndWait ends all of a task's processes, thaws them if they are frozen,
// and returns when the task has exited or is gone.
func (s *DefaultService) killAndWait(ctx context.Context, containerID string, status tasktypes.Status) error {
	w := s.startWait(ctx, containerID, "")
	defer w.stop()
	if err := s.kill(ctx, containerID, uint32(unix.SIGKILL), true); err != nil && !errdefs.IsNotFound(err) {
		if ended, lookErr := s.ended(ctx, containerID); lookErr != nil || !ended {
			return fmt.Errorf("killing the task: %w", err)
		}
		return nil
	}
	if isFrozen(status) {
		if err := s.thaw(ctx, containerID); err != nil {
			return err
		}
	}
	_, err := w.result(ctx)
	return err
}

// ended reports whether the task has stopped or is gone.
func (s *DefaultService) ended(ctx context.Context, containerID string) (bool, error) {
	p, err := s.process(ctx, containerID, "")
	if errdefs.IsNotFound(err) {
		return true, nil
	}
	return p.GetStatus() == tasktypes.Status_STOPPED, err
}

// endingLimit is how long a call that the runtime failed for no known reason
// waits for the task's exit, which would be the reason.
const endingLimit = 250 * time.Millisecond

// taskEnds waits briefly for the task's exit: a task whose process was killed
// still counts as running until its shim has seen the end.
func (s *DefaultService) taskEnds(ctx context.Context, containerID string) bool {
	ctx, cancel := within(ctx, s.clock.NewTimer, endingLimit)
	defer cancel()
	w := s.startWait(ctx, containerID, "")
	defer w.stop()
	_, err := w.result(ctx)
	return err == nil
}

func isFrozen(status tasktypes.Status) bool {
	return status == tasktypes.Status_PAUSED || status == tasktypes.Status_PAUSING
}

// thaw resumes a paused task. One that runs, has ended or is gone is left alone.
func (s *DefaultService) thaw(ctx context.Context, containerID string) error {
	_, err := s.bring(ctx, containerID, tasktypes.Status_RUNNING, s.requestResume(containerID))
	if err == nil || errdefs.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("resuming the task: %w", err)
}

// unanswered says that it is not known what came of a request.
func unanswered(err error) bool {
	class := native(err)
	return errdefs.IsUnavailable(class) || isContextError(class)
}

// endedBy returns ctx's own error for a request that was cut short some time
// after ctx had ended, and otherwise err.
func endedBy(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil && isContextError(native(err)) {
		return cause
	}
	return err
}

// statusName is how an error names a status.
func statusName(status tasktypes.Status) string {
	return strings.ToLower(status.String())
}

// wrongState is the error for a task that can't do what was asked for in the
// state it is in.
func wrongState(status tasktypes.Status) error {
	return fmt.Errorf("task is %s: %w", statusName(status), errdefs.ErrFailedPrecondition)
}
