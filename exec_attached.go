package containerd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// attachedExec is an exec that this process has started and looks after. One
// goroutine sees it to its end: it is a watcher of the service.
type attachedExec struct {
	*execHandle
	run     *executing
	request StartExecRequest

	tellOnce sync.Once
	told     chan struct{} // closed when the exec is to be removed

	done chan struct{} // closed when exit and err are set
	exit ExecExit
	err  error
}

// errTold is why a process is killed that its user removes: no failure of it.
var errTold = errors.New("removed")

// supervise ends with the exec. ctx is the one that governs its life.
func (x *attachedExec) supervise(ctx context.Context) {
	defer close(x.done)
	defer x.run.stopWait()
	cause := x.awaitEnd(ctx)
	lasting, cancel := outlive(ctx)
	defer cancel()
	if cause != nil {
		// The time that is left after the context's end, or the service's.
		limit := undoGrace
		if errors.Is(cause, errTold) {
			limit = undoLimit
		}
		lasting, cancel = context.WithTimeout(lasting, limit)
		defer cancel()
	}
	ended, err := x.end(lasting, cause)
	if err != nil {
		if told := failure(cause); told != nil {
			err = told
		}
		x.err = x.service.takeBack(lasting, x.run.lockID(), &x.run.undo, err)
		return
	}
	if cause != nil {
		x.sentKill.Store(true)
	}
	x.exit = x.result(lasting, ended)
	x.conclude(lasting, ctx, cause)
}

// awaitEnd returns nil when the process has ended, or why it is to be killed.
// When ctx ends, the process first gets the signal and the time that the
// request says.
func (x *attachedExec) awaitEnd(ctx context.Context) (cause error) {
	select {
	case <-x.run.wait.done:
		return nil
	case <-x.told:
		return errTold
	case <-x.service.closed:
		return errServiceClosed
	case <-ctx.Done():
	}
	if sig := x.request.StopSignal; sig != 0 && sig != unix.SIGKILL {
		return x.stopGently(ctx, sig)
	}
	return ctx.Err()
}

func (x *attachedExec) stopGently(ctx context.Context, sig syscall.Signal) (cause error) {
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoGrace)
	defer cancel()
	if err := x.service.killExec(within, x.containerID, x.execID, sig); err != nil {
		return ctx.Err()
	}
	var grace <-chan time.Time
	if x.request.StopGrace >= 0 {
		elapsed, release := x.service.clock.NewProcessTimer(cmp.Or(x.request.StopGrace, defaultStopGrace))
		defer release()
		grace = elapsed
	}
	select {
	case <-x.run.wait.done:
	case <-x.told:
	case <-x.service.closed:
	case <-grace:
	}
	return ctx.Err()
}

// end returns how the process ended. If there is a cause to, it is killed first.
func (x *attachedExec) end(ctx context.Context, cause error) (exit, error) {
	if cause != nil {
		err := x.service.killExec(ctx, x.containerID, x.execID, unix.SIGKILL)
		if err != nil && !errdefs.IsNotFound(err) {
			return exit{}, err
		}
	}
	ended, err := x.run.wait.result(ctx)
	if err == nil && ended.gone {
		err = goneError()
	}
	return ended, err
}

// conclude drains the output of the ended process, removes the exec, and says
// what there is to say beyond the exit code. life governs the exec.
func (x *attachedExec) conclude(ctx, life context.Context, cause error) {
	drained, err := x.run.finish(ctx, ctx)
	x.exit.OutputCut = !drained
	if st := x.run.streams(); st != nil {
		err = errors.Join(err, st.failure())
	}
	if cause := firstError(failure(cause), x.cutBy(life, drained)); cause != nil {
		x.err = cause
		return
	}
	if misfire := x.run.misfire(ctx, x.exit.Code); misfire != nil {
		x.exit, err = ExecExit{}, misfire
	}
	x.err = err
}

// cutBy returns why output is missing, if it is for another reason than that a
// child held it open for too long.
func (x *attachedExec) cutBy(life context.Context, drained bool) error {
	if drained {
		return nil
	}
	return firstError(life.Err(), x.service.closedError())
}

// failure returns the cause that the exec's user is told.
func failure(cause error) error {
	if errors.Is(cause, errTold) {
		return nil
	}
	return cause
}

// Wait waits for the goroutine that looks after the exec.
func (x *attachedExec) Wait(ctx context.Context) (ExecExit, error) {
	const op = "wait for exec"
	if err := x.await(ctx); err != nil {
		return ExecExit{}, opError(ctx, op, x.containerID, err)
	}
	if x.err != nil {
		return x.exit, opError(ctx, op, x.containerID, fmt.Errorf("exec %s: %w", quoted(x.execID), x.err))
	}
	return x.exit, nil
}

// await returns nil when the exec is done with.
func (x *attachedExec) await(ctx context.Context) error {
	defer x.service.awaitProcess(x.containerID, x.execID)()
	select {
	case <-x.done:
		return nil
	default:
	}
	select {
	case <-x.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// CloseStdin ends the process's input, and the copying into it.
func (x *attachedExec) CloseStdin(ctx context.Context) error {
	return x.do(ctx, "close stdin of exec", func(ctx context.Context) error {
		if st := x.run.streams(); st != nil {
			return st.endInput(ctx)
		}
		return nil
	})
}

// Remove makes the goroutine that looks after the exec kill it.
func (x *attachedExec) Remove(ctx context.Context) error {
	x.tellOnce.Do(func() { close(x.told) })
	if err := x.await(ctx); err != nil {
		return opError(ctx, "remove exec", x.containerID, fmt.Errorf("exec %s: %w", quoted(x.execID), err))
	}
	return nil
}
