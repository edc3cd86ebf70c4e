package wait

import (
	"context"
	"fmt"
	"strconv"
	"time"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

// Exit is the condition of [ForExit].
type Exit struct {
	code     uint32
	interval time.Duration
}

// ForExit waits until the container's task has ended with an exit code. Another
// code is a failed-precondition error, no task a not-found one. A service that
// is a [containerd.TaskWaiter] is asked once, and survives restarts of the
// daemon with what it says of lost exits; another one is asked again and again.
func ForExit(code uint32) Exit { return Exit{code: code} }

// WithPollInterval returns the strategy with another time between two looks, for
// services that are no [containerd.TaskWaiter].
func (e Exit) WithPollInterval(d time.Duration) Exit { e.interval = d; return e }

// Wait implements [Strategy].
func (e Exit) Wait(ctx context.Context, target Target) error {
	name := fmt.Sprintf("exit code %d", e.code)
	waiter, ok := target.Service.(containerd.TaskWaiter)
	if !ok {
		return poll(ctx, name, e.interval, func(ctx context.Context) error { return e.look(ctx, target) })
	}
	return poll(ctx, name, e.interval, func(ctx context.Context) error {
		r, err := waiter.WaitTask(ctx, target.ContainerID, nil)
		if err != nil {
			return err
		}
		return e.compare(r.ExitCode)
	})
}

func (e Exit) look(ctx context.Context, target Target) error {
	list, err := target.Service.ListTasks(ctx, &containerd.ListTasksOptions{Filter: "id==" + strconv.Quote(target.ContainerID)})
	switch {
	case err != nil:
		return err
	case len(list) == 0:
		return fmt.Errorf("container %q has no task: %w", target.ContainerID, errdefs.ErrNotFound)
	case list[0].Status != tasktypes.Status_STOPPED:
		return notYet("task is %s", list[0].Status)
	}
	return e.compare(list[0].ExitStatus)
}

func (e Exit) compare(code uint32) error {
	if code != e.code {
		return fmt.Errorf("task has exited with %d: %w", code, errdefs.ErrFailedPrecondition)
	}
	return nil
}
