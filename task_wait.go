package containerd

import (
	"context"
	"fmt"
	"syscall"
	"time"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"golang.org/x/sys/unix"
)

// ErrExitUnknown is wrapped by the error of [TaskWaiter.WaitTask] when the task
// has ended or was replaced, and how it ended is not known any more: nobody who
// could be asked has seen it. It is of the class errdefs.IsDataLoss.
var ErrExitUnknown error = exitUnknownError{}

type exitUnknownError struct{}

func (exitUnknownError) Error() string { return "exit of the task is unknown" }
func (exitUnknownError) DataLoss()     {}

// exitedBySignal is added to the number of the signal that ended a process.
const exitedBySignal = 128

// WaitTaskOptions says how [TaskWaiter.WaitTask] waits. It has no fields yet;
// nil and the zero value are the same.
type WaitTaskOptions struct{}

// WaitTaskResult is how a task ended.
type WaitTaskResult struct {
	// ExitCode is the exit code of the container's process, or 128 and the
	// number of the signal that ended it.
	ExitCode uint32 `json:"exitCode"`
	// ExitedAt is when the process ended, by the clock of the daemon's machine.
	ExitedAt time.Time `json:"exitedAt"`
	// Signal is the signal that ended the process, 0 if none did. A program that
	// exits with a code above 128 by itself can't be told from one that a signal
	// ended.
	Signal syscall.Signal `json:"signal,omitempty"`
	// OOMKilled says that the process was killed (ExitCode is 137) and that the
	// kernel has killed for memory in the task's cgroup. The count is of the whole
	// cgroup: a process that somebody else killed, after one of its children was
	// killed for memory, is taken for killed for memory itself. It is false where
	// there is no count: without a cgroup (rootless), after the task was deleted,
	// and on kernels before 4.13. A program that survives the kill of a child,
	// and ends with another code, was not killed.
	OOMKilled bool `json:"oomKilled"`
}

// WaitTask waits until the task of the container containerID has ended, and
// returns how it did. A task that has ended already is answered at once; one
// that was created and never started is waited for until it was started and
// has ended.
//
// It survives restarts of the daemon: a lost connection is waited out, and never
// taken for an exit. containerd forgets tasks that end while it is away. How
// such a task ended is then known only if this process could watch it: on the
// daemon's own machine, Linux 6.15 or later, and with a cgroup named after the
// container. Else WaitTask returns an error that wraps [ErrExitUnknown], as it
// does if somebody deleted the task at its end, or put another in its place.
//
// It returns a not-found error if there is no such container, or if it has no
// task. When ctx ends, WaitTask returns its error at once; the task is not
// touched.
func (s *DefaultService) WaitTask(ctx context.Context, containerID string, _ *WaitTaskOptions) (WaitTaskResult, error) {
	const op = "wait for task"
	err := checkID("containerID", containerID)
	if err == nil {
		ctx, err = s.begin(ctx)
	}
	if err != nil {
		return WaitTaskResult{}, opError(ctx, op, containerID, err)
	}
	result, err := s.waitTask(ctx, containerID)
	return result, opError(ctx, op, containerID, err)
}

func (s *DefaultService) waitTask(ctx context.Context, id string) (WaitTaskResult, error) {
	p, err := s.process(ctx, id, "")
	if err != nil {
		return WaitTaskResult{}, err
	}
	if p.GetStatus() == tasktypes.Status_STOPPED {
		return s.waitResult(ctx, id, exit{code: p.GetExitStatus(), at: p.GetExitedAt().AsTime()}), nil
	}
	seen := watchProcess(p.GetPid(), id)
	defer seen.stop()
	of := waited{containerID: id, pid: p.GetPid()}
	w := s.startWaitFor(ctx, of)
	defer w.stop()
	e, err := s.exitOf(ctx, w, of)
	if err != nil {
		return WaitTaskResult{}, err
	}
	if e.gone {
		witnessed, ok := seen.result()
		if !ok {
			return WaitTaskResult{}, fmt.Errorf("the task is gone: %w", ErrExitUnknown)
		}
		e = witnessed
	}
	return s.waitResult(ctx, id, e), nil
}

// exitOf returns how the process ended. The request to wait names a task, which
// can have been replaced just before it came to the daemon: so it is looked once
// more at the process. The look is under way at the same time as that request,
// and finds most such replacements, but not one between the two.
func (s *DefaultService) exitOf(ctx context.Context, w *waiting, of waited) (exit, error) {
	p, err := s.process(ctx, of.containerID, "")
	switch {
	case err == nil && of.replaced(p):
		return exit{gone: true}, nil
	case err == nil && p.GetStatus() == tasktypes.Status_STOPPED:
		return exit{code: p.GetExitStatus(), at: p.GetExitedAt().AsTime()}, nil
	}
	return w.result(ctx) // an error of the look is the wait's as well
}

// waitResult makes the result of an exit that is known. Whether it was for want
// of memory is asked for only where it can have been.
func (s *DefaultService) waitResult(ctx context.Context, id string, e exit) WaitTaskResult {
	r := WaitTaskResult{ExitCode: e.code, ExitedAt: e.at, Signal: exitSignal(e.code)}
	if r.Signal != unix.SIGKILL {
		return r
	}
	kills, err := s.oomKills(ctx, id)
	r.OOMKilled = err == nil && kills > 0
	return r
}

// exitSignal returns the signal that an exit code stands for, 0 if it is none.
func exitSignal(code uint32) syscall.Signal {
	if sig := int(code) - exitedBySignal; sig >= 1 && sig <= maxSignal {
		return syscall.Signal(sig)
	}
	return 0
}
