package containerd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	tasktypes "github.com/containerd/containerd/api/types/task"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"
	"github.com/moby/sys/signal"
)

const (
	// defaultStopTimeout is how long a task gets to stop by itself.
	defaultStopTimeout = 10 * time.Second
	// killTimeout is how long a killed task gets to be gone.
	killTimeout = 10 * time.Second
	maxSignal   = 64
)

// StopTaskOptions says how [Service.StopTask] stops a task. nil and the zero
// value are the same.
type StopTaskOptions struct {
	// Signal is sent to the container's process, 1 to 64. Zero means the
	// image's stop signal, or SIGTERM if it has none.
	Signal syscall.Signal
	// Timeout is how long to wait for the task to stop: zero means 10
	// seconds, a negative one means until the context ends.
	Timeout time.Duration
	// Force kills all processes of the task with SIGKILL after Timeout, and
	// waits at most 10 more seconds. The default leaves the task running.
	Force bool
}

// StopTask signals the process of the container containerID and waits for it
// to exit. It returns nil only when the process is gone: also if the task had
// already stopped, or the container has none. A paused task is resumed so that
// it can stop; a created one, which never started, is killed.
//
// It returns an error that wraps [ErrTaskStopTimeout] if the task is still
// running in the end, and a not-found error if the container does not exist.
// If ctx ends, StopTask returns its error at once; the signal is not taken
// back, and the task may still stop.
func (s *DefaultService) StopTask(ctx context.Context, containerID string, opts *StopTaskOptions) error {
	const op = "stop task"
	if opts == nil {
		opts = &StopTaskOptions{}
	}
	err := firstError(checkID("containerID", containerID), checkSignal(opts.Signal))
	if err == nil {
		ctx, err = s.begin(ctx)
	}
	if err == nil {
		err = s.stopTask(ctx, containerID, *opts)
	}
	return opError(ctx, op, containerID, err)
}

func checkSignal(sig syscall.Signal) error {
	if sig < 0 || sig > maxSignal {
		return invalid("Signal %d is not between 1 and %d", int(sig), maxSignal)
	}
	return nil
}

func (s *DefaultService) stopTask(ctx context.Context, id string, opts StopTaskOptions) error {
	record, err := s.load(ctx, id)
	if err != nil {
		return err
	}
	return s.stopRecorded(ctx, record, nil, opts)
}

// stopRecorded stops the task of the container that record describes. A caller
// that has just looked at the task's process gives it as seen.
func (s *DefaultService) stopRecorded(ctx context.Context, record containers.Container, seen *tasktypes.Process, opts StopTaskOptions) error {
	id, sig := record.ID, opts.Signal
	if sig == 0 {
		sig = stopSignal(record.Labels)
	}
	timeout := cmp.Or(opts.Timeout, defaultStopTimeout)
	err := s.bounded(ctx, timeout, func(ctx context.Context) error { return s.signalAndWait(ctx, id, seen, sig) })
	if !errors.Is(err, errElapsed) {
		return err
	}
	if !opts.Force {
		if ended, err := s.ended(ctx, id); err == nil && ended {
			return nil
		}
		return fmt.Errorf("still there %v after signal %d: %w", timeout, int(sig), ErrTaskStopTimeout)
	}
	err = s.bounded(ctx, killTimeout, func(ctx context.Context) error { return s.forceStop(ctx, id) })
	if errors.Is(err, errElapsed) {
		return fmt.Errorf("still there %v after being killed: %w", killTimeout, ErrTaskStopTimeout)
	}
	return err
}

// bounded runs do for at most d by the service's clock, or without a bound of
// its own if d is negative. It returns errElapsed when the time was up.
func (s *DefaultService) bounded(ctx context.Context, d time.Duration, do func(context.Context) error) error {
	if d < 0 {
		return do(ctx)
	}
	bounded, cancel := within(ctx, s.clock.NewProcessTimer, d)
	defer cancel()
	err := do(bounded)
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(bounded), errElapsed) {
		return errElapsed
	}
	return err
}

// signalAndWait sends sig to the task's process, which may be seen already, and
// waits for its end.
func (s *DefaultService) signalAndWait(ctx context.Context, id string, seen *tasktypes.Process, sig syscall.Signal) error {
	p, err := seen, error(nil)
	if p == nil {
		p, err = s.process(ctx, id, "")
	}
	if err == nil && p.GetStatus() == tasktypes.Status_CREATED {
		p, err = s.settled(ctx, id)
	}
	switch {
	case errdefs.IsNotFound(err):
		return nil
	case err != nil:
		return err
	case p.GetStatus() == tasktypes.Status_STOPPED:
		return nil
	case p.GetStatus() == tasktypes.Status_CREATED:
		return s.killAndWait(ctx, id, p.GetStatus())
	}
	w := s.startWait(ctx, id, "")
	defer w.stop()
	if err := s.kill(ctx, id, uint32(sig), false); err != nil {
		if ended, lookErr := s.ended(ctx, id); lookErr == nil && ended {
			return nil
		}
		if !errdefs.IsNotFound(err) { // not found means that the process is about to be reaped
			return fmt.Errorf("sending signal %d: %w", int(sig), err)
		}
	}
	if isFrozen(p.GetStatus()) {
		if err := s.thaw(ctx, id); err != nil {
			return err
		}
	}
	_, err = w.result(ctx)
	return err
}

// settled looks at a created task again when no call of this process is about
// to start it any more.
func (s *DefaultService) settled(ctx context.Context, id string) (*tasktypes.Process, error) {
	unlock, err := s.lockID(ctx, id)
	if err != nil {
		return nil, err
	}
	unlock()
	return s.process(ctx, id, "")
}

// forceStop kills whatever the task still runs.
func (s *DefaultService) forceStop(ctx context.Context, id string) error {
	p, err := s.process(ctx, id, "")
	switch {
	case errdefs.IsNotFound(err):
		return nil
	case err != nil:
		return err
	case p.GetStatus() == tasktypes.Status_STOPPED:
		return nil
	}
	return s.killAndWait(ctx, id, p.GetStatus())
}

// stopSignal returns the signal that the container's image asks for, or
// SIGTERM if it asks for none that exists.
func stopSignal(labels map[string]string) syscall.Signal {
	sig, err := signal.ParseSignal(labels[containerd.StopSignalLabel])
	if err != nil || sig < 1 || sig > maxSignal {
		return syscall.SIGTERM
	}
	return sig
}
