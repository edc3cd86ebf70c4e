package containerd

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// execHandle is an exec that nothing in this process belongs to: a detached
// one, or one that was looked up.
type execHandle struct {
	service             *DefaultService
	containerID, execID string
	pid                 uint32
	terminal            bool
	oomKills            uint64      // of the task before the exec
	sentKill            atomic.Bool // SIGKILL was sent through this handle
}

var _ Exec = (*execHandle)(nil)

// ID returns the exec's ID.
func (x *execHandle) ID() string { return x.execID }

// PID returns the process ID on the daemon's machine.
func (x *execHandle) PID() uint32 { return x.pid }

// Wait waits until the process has ended. The exec stays.
func (x *execHandle) Wait(ctx context.Context) (ExecExit, error) {
	var result ExecExit
	err := x.do(ctx, "wait for exec", func(ctx context.Context) error {
		w := x.service.startWait(ctx, x.containerID, x.execID)
		defer w.stop()
		ended, err := w.result(ctx)
		if err != nil {
			return err
		}
		if ended.gone {
			return goneError()
		}
		result = x.result(ctx, ended)
		return nil
	})
	return result, err
}

func goneError() error { return fmt.Errorf("%w: %w", errExecGone, errdefs.ErrNotFound) }

// Signal sends a signal to the process.
func (x *execHandle) Signal(ctx context.Context, sig syscall.Signal) error {
	const op = "signal exec"
	if sig < 1 || sig > maxSignal {
		return opError(ctx, op, x.containerID, invalid("signal %d is not between 1 and %d", int(sig), maxSignal))
	}
	return x.do(ctx, op, func(ctx context.Context) error {
		if sig == unix.SIGKILL {
			x.sentKill.Store(true)
		}
		return x.service.killExec(ctx, x.containerID, x.execID, sig)
	})
}

// killExec sends a signal to the process of an exec.
func (s *DefaultService) killExec(ctx context.Context, containerID, execID string, sig syscall.Signal) error {
	_, err := s.client.TaskService().Kill(ctx, &tasks.KillRequest{ContainerID: containerID, ExecID: execID, Signal: uint32(sig)})
	return native(err)
}

// Resize changes the size of the process's terminal.
func (x *execHandle) Resize(ctx context.Context, width, height uint32) error {
	const op = "resize exec"
	if err := checkTerminalSize(width, height); err != nil {
		return opError(ctx, op, x.containerID, err)
	}
	return x.do(ctx, op, func(ctx context.Context) error {
		if !x.terminal {
			return fmt.Errorf("the process has no terminal: %w", errdefs.ErrFailedPrecondition)
		}
		_, err := x.service.client.TaskService().ResizePty(ctx, &tasks.ResizePtyRequest{
			ContainerID: x.containerID, ExecID: x.execID, Width: width, Height: height,
		})
		return native(err)
	})
}

// CloseStdin ends the process's input.
func (x *execHandle) CloseStdin(ctx context.Context) error {
	return x.do(ctx, "close stdin of exec", func(ctx context.Context) error {
		return x.service.closeIO(ctx, x.containerID, x.execID)
	})
}

// Remove kills the process if it runs, and removes the exec.
func (x *execHandle) Remove(ctx context.Context) error {
	return x.do(ctx, "remove exec", func(ctx context.Context) error {
		lasting, cancel := outlive(ctx)
		defer cancel()
		e := &executing{service: x.service, containerID: x.containerID, execID: x.execID}
		err := e.removeWithin(ctx, lasting)
		if err == nil {
			return nil
		}
		left := &undo{}
		left.push("exec "+x.execID, e.remove)
		x.service.cleaner.add(e.lockID(), x.service, left)
		return fmt.Errorf("%w (still to be removed)", endedBy(ctx, err))
	})
}

// do makes one call in the service's scope.
func (x *execHandle) do(ctx context.Context, op string, call func(ctx context.Context) error) error {
	ctx, err := x.service.begin(ctx)
	if err == nil {
		err = call(ctx)
	}
	if err != nil {
		err = fmt.Errorf("exec %s: %w", quoted(x.execID), err)
	}
	return opError(ctx, op, x.containerID, err)
}

// removeWithin is remove for as long as ctx lasts: a shim that waits for output
// which a child of the process holds open gives up a second after the other.
func (e *executing) removeWithin(ctx, lasting context.Context) error {
	for {
		err := e.remove(lasting)
		if err == nil || ctx.Err() != nil || !isContextError(err) {
			return err
		}
	}
}
