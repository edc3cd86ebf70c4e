package broken_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"

	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctrdkit/containerd"
)

// plainExec are cases that a plain exec may fail: it knows the state of no task,
// and its process can't write to the streams that it has not got.
var plainExec = []string{
	"tasks/restart: ",
	"tasks/DeleteTask: Force deletes a task with further processes",
	"tasks/StopTask: Force kills all processes of the task",
	"snapshots/snapshots: a second container sees the files of the first one's committed snapshot",
}

var execBugs = []bug{
	{
		name:    "ExecTask inherits the container's terminal",
		service: func(b broken) containerd.Service { return inheritsTerminal{b} },
		caught:  []string{"exec/ExecTask: the container's terminal is not inherited"},
		says:    "terminal is true, want false",
		may:     plainExec,
		works:   []string{"exec/ExecTask: there is no terminal unless it is asked for"},
	},
	{
		name:    "ExecTask leaves the process when the context ends",
		service: func(b broken) containerd.Service { return leavesProcess{b} },
		caught: []string{
			"exec/ExecTask: canceling the context kills the process and removes the exec before the call returns",
		},
		says:  "the exec is still there",
		may:   plainExec,
		works: []string{"exec/ExecTask: a process that ends leaves no exec behind"},
	},
	{
		name:    "ExecTask returns an exit code for a missing executable",
		service: func(b broken) containerd.Service { return shellCodes{b} },
		caught: []string{
			"exec/ExecTask: a missing executable is a not-found error, not an exit code",
			"exec/ExecTask: a file without the right to execute is permission-denied",
		},
		says:  "no error",
		works: []string{"exec/ExecTask: exit code 127 is a result, not an error"},
	},
	{
		name:    "ExecTask takes a lost connection for an exit",
		service: func(b broken) containerd.Service { return trustsExitCode{b} },
		caught:  []string{"tasks/restart: ExecTask does not take the lost connection for an exit"},
		says:    "exit code 255, want 7",
		may:     plainExec,
		works:   []string{"exec/ExecTask: exit code 255 is a result, not an error"},
		timing:  true,
	},
	{
		name:    "ExecTask leaves the exec of a process that ended",
		service: func(b broken) containerd.Service { return leavesExec{b} },
		caught:  []string{"exec/ExecTask: a process that ends leaves no exec behind"},
		says:    "is still there",
		may:     plainExec,
		works:   []string{"exec/ExecTask: exit code 42 is a result, not an error"},
	},
	{
		name:    "ExecTask uses one exec ID",
		service: func(b broken) containerd.Service { return oneExecID{b} },
		caught:  []string{"exec/ExecTask: processes run at once, each with its own exit code and ID"},
		may:     plainExec,
		works:   []string{"exec/ExecTask: a process that ends leaves no exec behind"},
	},
	{
		name:    "ExecTask replaces the environment",
		service: func(b broken) containerd.Service { return replacesEnv{b} },
		caught:  []string{"exec/ExecTask: Env is added to the container's environment"},
		may:     plainExec,
		works:   []string{"exec/ExecTask: the process has the container's environment"},
	},
	{
		name:    "ExecTask makes an exit code an error",
		service: func(b broken) containerd.Service { return codeIsError{b} },
		caught:  []string{"exec/ExecTask: exit code 1 is a result, not an error"},
		says:    "exit status 1",
		may:     []string{""}, // the suite asks many containers by exit codes
		works:   []string{"exec/ExecTask: exit code 0 is a result"},
	},
}

// added adds a process with the container's settings to the task, changed by change.
func (b broken) added(ctx context.Context, containerID, execID string, req containerd.ExecTaskRequest, change func(*specs.Process)) (client.Process, error) {
	c, err := b.client.LoadContainer(b.in(ctx), containerID)
	if err != nil {
		return nil, err
	}
	task, err := c.Task(b.in(ctx), nil)
	if err != nil {
		return nil, err
	}
	spec, err := c.Spec(b.in(ctx))
	if err != nil {
		return nil, err
	}
	p := *spec.Process
	p.Args, p.Env, p.Terminal = req.Args, slices.Concat(p.Env, req.Env), req.Terminal
	p.Cwd = cmp.Or(req.WorkDir, p.Cwd)
	change(&p)
	create := cio.NullIO
	if p.Terminal {
		create = cio.NewCreator(cio.WithStreams(nil, io.Discard, nil), cio.WithTerminal, cio.WithFIFODir(b.dir))
	}
	return task.Exec(b.in(ctx), execID, &p, create)
}

func execID() string { return strings.ToLower(rand.Text()[:10]) }

func unchanged(*specs.Process) {}

// run starts a process, and returns its exit, or ctx's error.
func (b broken) run(ctx context.Context, p client.Process) (client.ExitStatus, error) {
	exited, err := p.Wait(b.in(context.WithoutCancel(ctx)))
	if err != nil {
		return client.ExitStatus{}, err
	}
	if err := p.Start(b.in(ctx)); err != nil {
		return client.ExitStatus{}, err
	}
	select {
	case status := <-exited:
		return status, nil
	case <-ctx.Done():
		return client.ExitStatus{}, ctx.Err()
	}
}

// remove kills what still runs of a process, and deletes it.
func (b broken) remove(ctx context.Context, p client.Process) error {
	_, err := p.Delete(b.in(context.WithoutCancel(ctx)), client.WithProcessKill)
	return err
}

// whole is ExecTask as it should be, at least where these bugs are.
func (b broken) whole(ctx context.Context, containerID, execID string, req containerd.ExecTaskRequest, change func(*specs.Process)) (containerd.ExecTaskResult, error) {
	p, err := b.added(ctx, containerID, execID, req, change)
	if err != nil {
		return containerd.ExecTaskResult{}, failed("exec task", containerID, err)
	}
	status, err := b.run(ctx, p)
	if err == nil {
		err = status.Error()
	}
	if err := errors.Join(err, b.remove(ctx, p)); err != nil {
		return containerd.ExecTaskResult{}, failed("exec task", containerID, err)
	}
	return containerd.ExecTaskResult{ExitCode: status.ExitCode()}, nil
}

type inheritsTerminal struct{ broken }

func (s inheritsTerminal) ExecTask(ctx context.Context, containerID string, req containerd.ExecTaskRequest) (containerd.ExecTaskResult, error) {
	c, err := s.client.LoadContainer(s.in(ctx), containerID)
	if err != nil {
		return containerd.ExecTaskResult{}, failed("exec task", containerID, err)
	}
	spec, err := c.Spec(s.in(ctx))
	if err != nil {
		return containerd.ExecTaskResult{}, failed("exec task", containerID, err)
	}
	return s.whole(ctx, containerID, execID(), req, func(p *specs.Process) {
		p.Terminal = spec.Process.Terminal
	})
}

type leavesProcess struct{ broken }

func (s leavesProcess) ExecTask(ctx context.Context, containerID string, req containerd.ExecTaskRequest) (containerd.ExecTaskResult, error) {
	p, err := s.added(ctx, containerID, execID(), req, unchanged)
	if err != nil {
		return containerd.ExecTaskResult{}, failed("exec task", containerID, err)
	}
	status, err := s.run(ctx, p)
	if err == nil {
		err = errors.Join(status.Error(), s.remove(ctx, p))
	}
	return containerd.ExecTaskResult{ExitCode: status.ExitCode()}, failed("exec task", containerID, err)
}

// shellCodes does what a shell does: 127 for not found, 126 for not executable.
type shellCodes struct{ broken }

func (s shellCodes) ExecTask(ctx context.Context, containerID string, req containerd.ExecTaskRequest) (containerd.ExecTaskResult, error) {
	result, err := s.Service.ExecTask(ctx, containerID, req)
	switch {
	case errdefs.IsNotFound(err):
		return containerd.ExecTaskResult{ExitCode: 127}, nil
	case errdefs.IsPermissionDenied(err):
		return containerd.ExecTaskResult{ExitCode: 126}, nil
	}
	return result, err
}

// trustsExitCode does not ask whether the exit is one: without it, the code is 255.
type trustsExitCode struct{ broken }

func (s trustsExitCode) ExecTask(ctx context.Context, containerID string, req containerd.ExecTaskRequest) (containerd.ExecTaskResult, error) {
	p, err := s.added(ctx, containerID, execID(), req, unchanged)
	if err != nil {
		return containerd.ExecTaskResult{}, failed("exec task", containerID, err)
	}
	status, err := s.run(ctx, p)
	if err != nil {
		return containerd.ExecTaskResult{}, failed("exec task", containerID, errors.Join(err, s.remove(ctx, p)))
	}
	if err := s.remove(ctx, p); err != nil && status.Error() == nil {
		return containerd.ExecTaskResult{}, failed("exec task", containerID, err)
	}
	return containerd.ExecTaskResult{ExitCode: status.ExitCode()}, nil
}

type leavesExec struct{ broken }

func (s leavesExec) ExecTask(ctx context.Context, containerID string, req containerd.ExecTaskRequest) (containerd.ExecTaskResult, error) {
	p, err := s.added(ctx, containerID, execID(), req, unchanged)
	if err != nil {
		return containerd.ExecTaskResult{}, failed("exec task", containerID, err)
	}
	status, err := s.run(ctx, p)
	if err == nil {
		err = status.Error()
	} else {
		err = errors.Join(err, p.Kill(s.in(context.WithoutCancel(ctx)), syscall.SIGKILL))
	}
	return containerd.ExecTaskResult{ExitCode: status.ExitCode()}, failed("exec task", containerID, err)
}

type oneExecID struct{ broken }

func (s oneExecID) ExecTask(ctx context.Context, containerID string, req containerd.ExecTaskRequest) (containerd.ExecTaskResult, error) {
	return s.whole(ctx, containerID, "exec", req, unchanged)
}

type replacesEnv struct{ broken }

func (s replacesEnv) ExecTask(ctx context.Context, containerID string, req containerd.ExecTaskRequest) (containerd.ExecTaskResult, error) {
	return s.whole(ctx, containerID, execID(), req, func(p *specs.Process) {
		if len(req.Env) > 0 {
			p.Env = req.Env
		}
	})
}

// codeIsError returns what os/exec would.
type codeIsError struct{ broken }

func (s codeIsError) ExecTask(ctx context.Context, containerID string, req containerd.ExecTaskRequest) (containerd.ExecTaskResult, error) {
	result, err := s.Service.ExecTask(ctx, containerID, req)
	if err == nil && result.ExitCode != 0 {
		err = failed("exec task", containerID, fmt.Errorf("exit status %d: %w", result.ExitCode, errdefs.ErrAborted))
	}
	return result, err
}
