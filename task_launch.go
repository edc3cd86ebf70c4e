package containerd

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd/internal/logfile"
)

// LaunchTaskRequest says how [TaskLauncher.LaunchTask] wires a task.
type LaunchTaskRequest struct {
	// IO is where the streams go; nil means [DiscardIO].
	IO TaskIO
	// Terminal gives the task a terminal. It is stored in the container's spec,
	// and also on if the spec asks for it already.
	Terminal bool
}

// LaunchTaskResult is the result of [TaskLauncher.LaunchTask].
type LaunchTaskResult struct {
	// PID is the process ID of the task's first process, on the daemon's machine.
	PID uint32 `json:"pid"`
}

// LaunchTask creates and starts the task of the container containerID as
// [TaskService.StartTask] does, with a choice of where its streams go.
//
// Its errors are those of StartTask, and an invalid-argument error for an IO
// that can't work, and a failed-precondition error for a [LogIO] that this
// program can't log, or whose directory is not for this container. If it fails,
// or ctx ends before the task has been started, nothing is left but files of a
// FileIO that were made for it.
func (s *DefaultService) LaunchTask(ctx context.Context, containerID string, req LaunchTaskRequest) (LaunchTaskResult, error) {
	const op = "launch task"
	if req.IO == nil {
		req.IO = DiscardIO{}
	}
	err := firstError(checkID("containerID", containerID), req.IO.check(req.Terminal))
	if err == nil {
		ctx, err = s.begin(ctx)
	}
	if err != nil {
		return LaunchTaskResult{}, opError(ctx, op, containerID, err)
	}
	task, err := s.startTask(ctx, containerID, req)
	if err != nil {
		return LaunchTaskResult{}, opError(ctx, op, containerID, err)
	}
	return LaunchTaskResult{PID: task.Pid()}, nil
}

// RestartTaskRequest says how [TaskLauncher.RestartTask] stops a task and
// starts it again.
type RestartTaskRequest struct {
	// IO is where the streams of the new task go; nil keeps what the task has.
	IO TaskIO
	// Signal, Timeout and Force are those of [StopTaskOptions].
	Signal  syscall.Signal
	Timeout time.Duration
	Force   bool
}

// RestartTask stops the task of the container containerID as
// [TaskService.StopTask] does, and starts it again. A container without a task
// gets one. With a nil IO the new task has the streams that the old one had:
// discarded, files, or the same log, which goes on; without an old one, the
// container's log if it has one, with what its last task's [LogIO] said, else
// [DiscardIO].
//
// Its errors are those of StopTask and LaunchTask, and a failed-precondition
// error for streams of a process that can't be had again. If it can't be
// stopped, the task runs on; if it can't be started, it is stopped.
func (s *DefaultService) RestartTask(ctx context.Context, containerID string, req RestartTaskRequest) (LaunchTaskResult, error) {
	const op = "restart task"
	err := firstError(checkID("containerID", containerID), checkSignal(req.Signal))
	if err == nil {
		ctx, err = s.begin(ctx)
	}
	var result LaunchTaskResult
	if err == nil {
		result, err = s.restartTask(ctx, containerID, req)
	}
	return result, opError(ctx, op, containerID, err)
}

func (s *DefaultService) restartTask(ctx context.Context, id string, req RestartTaskRequest) (LaunchTaskResult, error) {
	var none LaunchTaskResult
	old, err := s.process(ctx, id, "")
	if err != nil && !errdefs.IsNotFound(err) {
		return none, err
	}
	record, err := s.load(ctx, id)
	if err != nil {
		return none, err
	}
	launch := LaunchTaskRequest{IO: req.IO}
	if launch.IO == nil {
		if launch, err = s.currentIO(record, old); err != nil {
			return none, err
		}
	}
	if err := launch.IO.check(launch.Terminal); err != nil {
		return none, err
	}
	if l, ok := launch.IO.(LogIO); ok { // before the task is stopped
		if _, err := s.logDirFor(record, l); err != nil {
			return none, err
		}
	}
	if old != nil {
		err := s.stopRecorded(ctx, record, old, StopTaskOptions{Signal: req.Signal, Timeout: req.Timeout, Force: req.Force})
		if err != nil {
			return none, err
		}
	}
	task, err := s.start(ctx, &starting{service: s, id: id, req: launch, hasOld: old != nil})
	if err != nil {
		return none, err
	}
	return LaunchTaskResult{PID: task.Pid()}, nil
}

// currentIO tells how the container's task is wired, or without one, how it
// was: of that only a log leaves a trace.
func (s *DefaultService) currentIO(record containers.Container, p *tasktypes.Process) (LaunchTaskRequest, error) {
	if p == nil {
		return s.loggedIO(record)
	}
	io, err := ioOf(p)
	return LaunchTaskRequest{IO: io, Terminal: p.GetTerminal()}, err
}

// ioOf tells from its addresses how a process is wired.
func ioOf(p *tasktypes.Process) (TaskIO, error) {
	stdout := p.GetStdout()
	if config, ok := logfile.ParseAddress(stdout); ok {
		return logIO(config), nil
	}
	if stdout == "" && p.GetStderr() == "" || strings.HasPrefix(p.GetStderr(), sinkPrefix) {
		return DiscardIO{}, nil
	}
	if _, out, ok := parseMarkedPath(stdout); ok {
		_, errs, _ := parseMarkedPath(p.GetStderr())
		return FileIO{Stdout: out, Stderr: errs}, nil
	}
	if st, ok := attachments.Load(fifoDirOf(p)); ok {
		return st.(*streams).wanted, nil
	}
	return nil, fmt.Errorf("the task's streams are not this process's, name an IO: %w", errdefs.ErrFailedPrecondition)
}
