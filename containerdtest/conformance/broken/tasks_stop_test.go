package broken_test

import (
	"cmp"
	"context"
	"errors"
	"syscall"
	"time"

	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

// Cases that several bugs of StopTask are caught by, or pass.
const (
	ignoresSignal = "tasks/StopTask: a task that ignores the signal gives ErrTaskStopTimeout and still runs"
	givenSignal   = "tasks/StopTask: the given signal is sent"
	anotherStop   = "tasks/StopTask: another stop succeeds while one waits, and ends it"
)

var stopBugs = []bug{
	{
		name:    "StopTask does not wait for the exit",
		service: func(b broken) containerd.Service { return onlySignals{b} },
		caught:  []string{"tasks/StopTask: a task that ends by itself meanwhile has stopped"},
		says:    `is "RUNNING", want "STOPPED"`,
		may:     []string{"tasks/restart: "},
		works:   []string{"tasks/StopTask: an unknown container is not found"},
	},
	{
		name:    "StopTask returns nil at its timeout",
		service: func(b broken) containerd.Service { return nilAtTimeout{b} },
		caught:  []string{ignoresSignal},
		says:    "no error",
		may:     []string{"tasks/restart: "},
		works:   []string{anotherStop},
	},
	{
		name:    "StopTask tells its timeout as the end of the caller's context",
		service: func(b broken) containerd.Service { return contextTimeout{b} },
		caught:  []string{ignoresSignal},
		says:    "error is not ErrTaskStopTimeout",
		may:     []string{"tasks/restart: "},
		works:   []string{"tasks/StopTask: the context's deadline returns at once, with the context's error"},
	},
	{
		name:    "StopTask kills after its timeout without Force",
		service: func(b broken) containerd.Service { return alwaysKills{b} },
		caught:  []string{ignoresSignal},
		says:    "no error",
		works:   []string{"tasks/StopTask: Force kills what is left after the timeout"},
	},
	{
		name:    "StopTask kills when the context is cancelled",
		service: func(b broken) containerd.Service { return killsOnCancel{b} },
		caught:  []string{"tasks/StopTask: canceling the context returns at once, with the context's error"},
		says:    `is "STOPPED", want "RUNNING"`,
		works:   []string{anotherStop},
	},
	{
		name:    "StopTask takes a lost connection for an exit",
		service: func(b broken) containerd.Service { return trustsExit{b} },
		caught:  []string{"tasks/restart: StopTask does not take the lost connection for an exit"},
		says:    "got <nil>, want the exit or an unavailable error",
		may:     []string{"tasks/restart: "},
		works:   []string{anotherStop},
		timing:  true,
	},
	{
		name:    "StopTask fails if there is nothing to stop",
		service: func(b broken) containerd.Service { return needsTask{b} },
		caught: []string{
			"tasks/StopTask: a stopped task is stopped, and keeps its exit code",
			"tasks/StopTask: a container without a task is stopped",
		},
		says:  "process already finished",
		may:   []string{"tasks/restart: "},
		works: []string{givenSignal},
	},
	{
		name:    "StopTask ignores the image's stop signal",
		service: func(b broken) containerd.Service { return alwaysTerm{b} },
		caught:  []string{"tasks/StopTask: without a given signal it is the image's"},
		works:   []string{"tasks/StopTask: the default signal is SIGTERM and not SIGKILL"},
	},
	{
		name:    "StopTask writes its defaults into the caller's options",
		service: func(b broken) containerd.Service { return writesOptions{b} },
		caught:  []string{"all methods/the caller's options and request are not written to"},
		says:    "options became",
		works:   []string{"tasks/StopTask: zero options are the same as nil"},
	},
}

// stopping signals a task, after subscribing to its exit. Without a task, or
// with a stopped one, there is nothing to wait for: exited is nil.
func (b broken) stopping(ctx context.Context, containerID string, opts *containerd.StopTaskOptions) (exited <-chan client.ExitStatus, err error) {
	c, err := b.client.LoadContainer(b.in(ctx), containerID)
	if err != nil {
		return nil, err
	}
	task, err := c.Task(b.in(ctx), nil)
	if err == nil {
		exited, err = task.Wait(b.in(ctx))
	}
	if err == nil {
		err = task.Kill(b.in(ctx), cmp.Or(opts.Signal, syscall.SIGTERM))
	}
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	return exited, err
}

// timeout is a stop's, on a timer.
func timeout(opts *containerd.StopTaskOptions) <-chan time.Time {
	if opts.Timeout < 0 {
		return nil
	}
	return time.After(cmp.Or(opts.Timeout, 10*time.Second))
}

type onlySignals struct{ broken }

func (s onlySignals) StopTask(ctx context.Context, containerID string, opts *containerd.StopTaskOptions) error {
	if opts == nil {
		opts = &containerd.StopTaskOptions{}
	}
	_, err := s.stopping(ctx, containerID, opts)
	return failed("stop task", containerID, err)
}

type nilAtTimeout struct{ broken }

func (s nilAtTimeout) StopTask(ctx context.Context, containerID string, opts *containerd.StopTaskOptions) error {
	if opts == nil {
		opts = &containerd.StopTaskOptions{}
	}
	exited, err := s.stopping(ctx, containerID, opts)
	if err != nil || exited == nil {
		return failed("stop task", containerID, err)
	}
	select {
	case status := <-exited:
		err = status.Error()
	case <-timeout(opts):
	case <-ctx.Done():
		err = ctx.Err()
	}
	return failed("stop task", containerID, err)
}

type contextTimeout struct{ broken }

func (s contextTimeout) StopTask(ctx context.Context, containerID string, opts *containerd.StopTaskOptions) error {
	if opts == nil || opts.Timeout < 0 {
		return s.Service.StopTask(ctx, containerID, opts)
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(opts.Timeout, 10*time.Second))
	defer cancel()
	waits := *opts
	waits.Timeout = -1
	return s.Service.StopTask(ctx, containerID, &waits)
}

type alwaysKills struct{ broken }

func (s alwaysKills) StopTask(ctx context.Context, containerID string, opts *containerd.StopTaskOptions) error {
	var forced containerd.StopTaskOptions
	if opts != nil {
		forced = *opts
	}
	forced.Force = true
	return s.Service.StopTask(ctx, containerID, &forced)
}

// killsOnCancel kills as programs do that end: whatever it takes.
type killsOnCancel struct{ broken }

func (s killsOnCancel) StopTask(ctx context.Context, containerID string, opts *containerd.StopTaskOptions) error {
	err := s.Service.StopTask(ctx, containerID, opts)
	if errors.Is(err, context.Canceled) {
		kill := &containerd.StopTaskOptions{Signal: syscall.SIGKILL}
		return errors.Join(err, s.Service.StopTask(context.WithoutCancel(ctx), containerID, kill))
	}
	return err
}

// trustsExit looks at what it gets from the channel no further.
type trustsExit struct{ broken }

func (s trustsExit) StopTask(ctx context.Context, containerID string, opts *containerd.StopTaskOptions) error {
	if opts == nil {
		opts = &containerd.StopTaskOptions{}
	}
	exited, err := s.stopping(ctx, containerID, opts)
	if err != nil || exited == nil {
		return failed("stop task", containerID, err)
	}
	select {
	case <-exited:
	case <-timeout(opts):
		err = containerd.ErrTaskStopTimeout
	}
	return failed("stop task", containerID, err)
}

type needsTask struct{ broken }

func (s needsTask) StopTask(ctx context.Context, containerID string, opts *containerd.StopTaskOptions) error {
	task, err := s.task(ctx, containerID)
	if err != nil {
		return failed("stop task", containerID, err)
	}
	if opts == nil {
		opts = &containerd.StopTaskOptions{}
	}
	exited, err := task.Wait(s.in(ctx))
	if err == nil {
		err = task.Kill(s.in(ctx), cmp.Or(opts.Signal, syscall.SIGTERM))
	}
	if err != nil {
		return failed("stop task", containerID, err)
	}
	status := <-exited
	return failed("stop task", containerID, status.Error())
}

type alwaysTerm struct{ broken }

func (s alwaysTerm) StopTask(ctx context.Context, containerID string, opts *containerd.StopTaskOptions) error {
	var term containerd.StopTaskOptions
	if opts != nil {
		term = *opts
	}
	term.Signal = cmp.Or(term.Signal, syscall.SIGTERM)
	return s.Service.StopTask(ctx, containerID, &term)
}

type writesOptions struct{ broken }

func (s writesOptions) StopTask(ctx context.Context, containerID string, opts *containerd.StopTaskOptions) error {
	if opts == nil {
		opts = &containerd.StopTaskOptions{}
	}
	if opts.Timeout == 0 {
		opts.Timeout = 10 * time.Second
	}
	return s.Service.StopTask(ctx, containerID, opts)
}
