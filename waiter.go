package containerd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"google.golang.org/grpc/connectivity"

	"github.com/ctrdkit/containerd/internal/clock"
)

const (
	// waitPause is the first pause between two looks at a process whose state
	// can't be told; it doubles up to maxWaitPause.
	waitPause    = 20 * time.Millisecond
	maxWaitPause = time.Second
	// waitFailures is how often in a row a wait may fail, although the daemon
	// answers and the process runs, before its error is the caller's.
	waitFailures = 10
	// deadlineSlack is how much earlier than its context a request may end.
	deadlineSlack = 100 * time.Millisecond
)

// exit is how a process ended.
type exit struct {
	code uint32
	at   time.Time
	gone bool // its record was removed before anybody saw it end; code and at are unknown
}

// waiting is one wait for the exit of a task's process, or of one of its
// execs. It is the only place that calls the daemon's Wait.
//
// Losing the connection is not an exit: the wait asks for the process's state
// once the daemon is back, and waits again.
type waiting struct {
	done   chan struct{} // closed when exit and err are set
	exit   exit
	err    error
	cancel context.CancelFunc
	// await tells the service's clock who waits for what.
	await func() (done func())
}

// waited names the process that is waited for. With a pid it is only the one
// that has it: another one of the same name is another process.
type waited struct {
	containerID, execID string
	pid                 uint32
}

// replaced says whether p is not the process that is waited for.
func (w waited) replaced(p *tasktypes.Process) bool {
	return w.pid != 0 && p.GetPid() != w.pid
}

// startWait begins to wait, before the caller signals or starts the process.
// It ends with ctx. The caller calls stop.
func (s *DefaultService) startWait(ctx context.Context, containerID, execID string) *waiting {
	return s.startWaitFor(ctx, waited{containerID: containerID, execID: execID})
}

func (s *DefaultService) startWaitFor(ctx context.Context, process waited) *waiting {
	ctx, cancel := context.WithCancel(ctx)
	w := &waiting{done: make(chan struct{}), cancel: cancel}
	w.await = func() (done func()) { return s.awaitProcess(process.containerID, process.execID) }
	go func() {
		defer close(w.done)
		w.exit, w.err = s.waitExit(ctx, process)
	}()
	return w
}

// stop ends the wait, and returns when it has ended.
func (w *waiting) stop() {
	w.cancel()
	<-w.done
}

// result waits for the exit, or for ctx to end.
func (w *waiting) result(ctx context.Context) (exit, error) {
	defer w.await()()
	select {
	case <-w.done:
		return w.exit, w.err
	case <-ctx.Done():
		return exit{}, ctx.Err()
	}
}

// awaitProcess tells the clock that a call waits for a process, until it calls done.
func (s *DefaultService) awaitProcess(containerID, execID string) (done func()) {
	return s.clock.AwaitProcess(clock.Process{Namespace: s.namespace, ContainerID: containerID, ExecID: execID})
}

// waitExit returns when the process has exited or is gone, and an error when
// that can't be told.
func (s *DefaultService) waitExit(ctx context.Context, of waited) (exit, error) {
	containerID, execID := of.containerID, of.execID
	pause := waitPause
	for failures := 1; ; failures++ {
		r, err := s.client.TaskService().Wait(ctx, &tasks.WaitRequest{ContainerID: containerID, ExecID: execID})
		if err == nil {
			return exit{code: r.GetExitStatus(), at: r.GetExitedAt().AsTime()}, nil
		}
		err = native(err)
		switch {
		case ctx.Err() != nil:
			return exit{}, ctx.Err()
		case errdefs.IsNotFound(err):
			return s.confirmGone(ctx, containerID, execID)
		case errdefs.IsUnavailable(err):
			failures = 0
		case failures >= waitFailures:
			return exit{}, err
		}
		if err := s.pause(ctx, pause); err != nil {
			return exit{}, err
		}
		pause = min(2*pause, maxWaitPause)

		p, err := s.process(ctx, containerID, execID)
		switch {
		case errdefs.IsNotFound(err):
			return s.confirmGone(ctx, containerID, execID)
		case err == nil && of.replaced(p):
			return exit{gone: true}, nil
		case err == nil && p.GetStatus() == tasktypes.Status_STOPPED:
			return exit{code: p.GetExitStatus(), at: p.GetExitedAt().AsTime()}, nil
		case ctx.Err() != nil:
			return exit{}, ctx.Err()
		}
	}
}

// confirmGone makes sure that a not-found answer is about the process: a task
// that has lost its container's record can't be got, but is still listed. A lost
// connection is waited out here, too.
func (s *DefaultService) confirmGone(ctx context.Context, containerID, execID string) (exit, error) {
	if execID != "" {
		return exit{gone: true}, nil
	}
	for pause := waitPause; ; pause = min(2*pause, maxWaitPause) {
		err := s.checkGone(ctx, containerID)
		switch {
		case err == nil:
			return exit{gone: true}, nil
		case ctx.Err() != nil:
			return exit{}, ctx.Err()
		case !errdefs.IsUnavailable(err):
			return exit{}, err
		}
		if err := s.pause(ctx, pause); err != nil {
			return exit{}, err
		}
	}
}

// checkGone returns nil unless the task runs without its container's record.
func (s *DefaultService) checkGone(ctx context.Context, containerID string) error {
	r, err := s.client.TaskService().List(ctx, &tasks.ListTasksRequest{})
	if err != nil {
		return native(err)
	}
	for _, p := range r.GetTasks() {
		if p.GetID() != containerID || p.GetStatus() == tasktypes.Status_STOPPED {
			continue
		}
		// It may just have been started anew: then it has a record.
		if _, err := s.process(ctx, containerID, ""); !errdefs.IsNotFound(err) {
			return err
		}
		return fmt.Errorf("the container's record was deleted while its task runs: %w", errdefs.ErrFailedPrecondition)
	}
	return nil
}

// errShimSilent is for a shim that the daemon gave up waiting for. The daemon
// reports it as an ended context, which is not the caller's.
var errShimSilent = fmt.Errorf("the task's shim does not answer: %w", errdefs.ErrUnavailable)

// process returns the state of a task's process, or of one of its execs.
func (s *DefaultService) process(ctx context.Context, containerID, execID string) (*tasktypes.Process, error) {
	r, err := s.client.TaskService().Get(ctx, &tasks.GetRequest{ContainerID: containerID, ExecID: execID})
	if err = native(err); err == nil {
		return r.GetProcess(), nil
	}
	return nil, silentShim(ctx, err)
}

// silentShim returns errShimSilent for an ended context that is not ctx. The
// daemon is told when ctx ends, and can give up a moment before it does.
func silentShim(ctx context.Context, err error) error {
	if !isContextError(native(err)) || ctx.Err() != nil {
		return err
	}
	if end, ok := ctx.Deadline(); ok && time.Until(end) < deadlineSlack {
		return err
	}
	return errShimSilent
}

// pause waits for d, or less if the connection was lost and comes back.
func (s *DefaultService) pause(ctx context.Context, d time.Duration) error {
	elapsed, release := s.clock.NewTimer(d)
	defer release()
	ready, stop := s.connectionReady(ctx)
	defer stop()
	select {
	case <-elapsed:
		return nil
	case <-ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// connectionReady returns a channel that is closed when a connection that is
// lost now is ready again, and a function that ends the watch. Without a
// connection of its own, or with one that is not lost, the channel is nil.
func (s *DefaultService) connectionReady(ctx context.Context) (ready <-chan struct{}, stop func()) {
	conn := s.conn()
	if conn == nil || conn.GetState() == connectivity.Ready {
		return nil, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	back, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		conn.ResetConnectBackoff()
		conn.Connect()
		for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
			if !conn.WaitForStateChange(ctx, state) {
				return
			}
		}
		close(back)
	}()
	return back, func() { cancel(); <-ended }
}

// within returns a context that ends when timer, a method of the service's
// clock, has run for d, with errElapsed as its cause. The timer is released by
// the caller's cancel only, which says that the call has noticed its end.
func within(ctx context.Context, timer func(time.Duration) (<-chan time.Time, func()), d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	elapsed, release := timer(d)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-elapsed:
			cancel(errElapsed)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil); <-ended; release() }
}

// errElapsed is the cause of a context that ended by its own time, not by its parent.
var errElapsed = errors.New("time elapsed")
