package containerd

import (
	"context"
	"fmt"
	"syscall"

	"github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// SignalTaskOptions says what [TaskController.SignalTask] signals. nil and the
// zero value are the same.
type SignalTaskOptions struct {
	// All signals every process of the task. The default is the container's own
	// process alone. A process that is started meanwhile may be missed. From
	// another machine than the daemon's, processes that were started by others
	// inside the container can't be signalled, except with SIGKILL: if there are
	// any, the others are signalled, and a not-implemented error says so.
	All bool
}

// SignalTask sends a signal, 1 to 64, to the process of the container
// containerID, and does not wait for what it does. The kernel drops signals that
// the first process of a container has no handler for, SIGKILL and SIGSTOP
// aside. A paused task gets the signal when it is resumed; SIGKILL may end it
// before.
//
// It returns a not-found error if there is no such container or task, and a
// failed-precondition error if the task was never started or has ended. If ctx
// ends, the signal may have been sent.
func (s *DefaultService) SignalTask(ctx context.Context, containerID string, signal syscall.Signal, opts *SignalTaskOptions) error {
	const op = "signal task"
	if opts == nil {
		opts = &SignalTaskOptions{}
	}
	err := firstError(checkID("containerID", containerID), checkSignal(signal))
	if err == nil && signal == 0 {
		err = invalid("signal is 0")
	}
	if err == nil {
		ctx, err = s.begin(ctx)
	}
	if err == nil {
		err = s.signalTask(ctx, containerID, signal, opts.All)
	}
	return opError(ctx, op, containerID, err)
}

// signalTask looks first: a runtime takes a signal to a stopped task for sent,
// and one to a created task goes to the runtime itself.
func (s *DefaultService) signalTask(ctx context.Context, id string, signal syscall.Signal, all bool) error {
	p, err := s.signalable(ctx, id)
	if err != nil {
		return err
	}
	if all && signal != unix.SIGKILL {
		return s.signalEach(ctx, id, p.GetPid(), signal)
	}
	return s.sent(ctx, id, s.kill(ctx, id, uint32(signal), all))
}

// sent finds out what the error of a signal to a task means.
func (s *DefaultService) sent(ctx context.Context, id string, err error) error {
	if err == nil {
		return nil
	}
	if _, lookErr := s.signalable(ctx, id); lookErr != nil && !errdefs.IsUnavailable(lookErr) {
		return lookErr
	}
	if errdefs.IsNotFound(err) { // the process is about to be reaped
		return wrongState(tasktypes.Status_STOPPED)
	}
	return fmt.Errorf("sending the signal: %w", err)
}

// signalEach signals the processes one by one: runc takes the request to signal
// all for one to signal the first, since version 1.2. The first comes last, so
// that its end does not hide the others.
func (s *DefaultService) signalEach(ctx context.Context, id string, first uint32, signal syscall.Signal) error {
	r, err := s.client.TaskService().ListPids(ctx, &tasks.ListPidsRequest{ContainerID: id})
	if err != nil {
		return s.sent(ctx, id, native(err))
	}
	here := isHere(first, id)
	var missed []error
	var reached int
	for _, p := range r.GetProcesses() {
		if p.GetPid() == first {
			continue
		}
		switch exec := execID(p); {
		case exec != "":
			_, err = s.client.TaskService().Kill(ctx, &tasks.KillRequest{ContainerID: id, ExecID: exec, Signal: uint32(signal)})
			err = native(err)
		case here:
			err = signalProcess(p.GetPid(), id, signal)
		default:
			err = errElsewhere
		}
		if err == nil {
			reached++
		} else if !errdefs.IsNotFound(err) {
			missed = append(missed, fmt.Errorf("process %d: %w", p.GetPid(), err))
		}
	}
	err = s.sent(ctx, id, s.kill(ctx, id, uint32(signal), false))
	ended := errdefs.IsFailedPrecondition(err) || errdefs.IsNotFound(err)
	if err != nil && !(ended && reached > 0) { // the end of another can be that of the first
		return err
	}
	if len(missed) > 0 {
		return fmt.Errorf("%d of %d processes were not signalled: %w", len(missed), len(r.GetProcesses()), missed[0])
	}
	return nil
}

var errElsewhere = fmt.Errorf("the daemon's processes are not on this machine: %w", errdefs.ErrNotImplemented)

// signalable returns the task's process if it runs, or would if it were resumed.
func (s *DefaultService) signalable(ctx context.Context, id string) (*tasktypes.Process, error) {
	p, err := s.process(ctx, id, "")
	if err != nil {
		return nil, err
	}
	switch p.GetStatus() {
	case tasktypes.Status_STOPPED, tasktypes.Status_CREATED:
		return nil, wrongState(p.GetStatus())
	}
	return p, nil
}

// PauseTaskOptions says how [TaskController.PauseTask] pauses. It has no fields
// yet; nil and the zero value are the same.
type PauseTaskOptions struct{}

// PauseTask holds all processes of the container containerID until
// [TaskController.ResumeTask]. They use no processor, and keep their memory and
// connections. nil means that the task is paused: also if it was before.
//
// It returns a not-found error if there is no such container or task, and a
// failed-precondition error if the task was never started or has ended. A
// runtime that is cut short can leave a task that is neither paused nor not:
// when ctx ends while the task is being paused, PauseTask lets that come to an
// end, for at most 0.9 s, and then says what came of it.
func (s *DefaultService) PauseTask(ctx context.Context, containerID string, _ *PauseTaskOptions) error {
	return s.freeze(ctx, "pause task", containerID, tasktypes.Status_PAUSED, func(ctx context.Context) error {
		_, err := s.client.TaskService().Pause(ctx, &tasks.PauseTaskRequest{ContainerID: containerID})
		return err
	})
}

// ResumeTaskOptions says how [TaskController.ResumeTask] resumes. It has no
// fields yet; nil and the zero value are the same.
type ResumeTaskOptions struct{}

// ResumeTask lets the processes of a paused task go on. nil means that the task
// runs: also if it was not paused. It returns the same errors as
// [TaskController.PauseTask], and treats the end of ctx in the same way.
func (s *DefaultService) ResumeTask(ctx context.Context, containerID string, _ *ResumeTaskOptions) error {
	return s.freeze(ctx, "resume task", containerID, tasktypes.Status_RUNNING, s.requestResume(containerID))
}

func (s *DefaultService) requestResume(containerID string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := s.client.TaskService().Resume(ctx, &tasks.ResumeTaskRequest{ContainerID: containerID})
		return err
	}
}

// freeze brings a task to the status goal, paused or running, by a request.
func (s *DefaultService) freeze(ctx context.Context, op, id string, goal tasktypes.Status, request func(context.Context) error) error {
	err := checkID("containerID", id)
	if err == nil {
		ctx, err = s.begin(ctx)
	}
	if err == nil {
		var status tasktypes.Status
		status, err = s.bring(ctx, id, goal, request)
		if err == nil && status != goal {
			err = wrongState(status)
		}
	}
	return opError(ctx, op, id, err)
}

// bring makes the request, and finds out what its error means: containerd tells
// a wrong state by its text alone. Without an error the task has the status goal
// or one of those that know no pausing, created and stopped.
//
// A task that was killed can't be resumed, and is paused nevertheless until its
// shim has noticed its end. So resuming is tried for a while.
func (s *DefaultService) bring(ctx context.Context, id string, goal tasktypes.Status, request func(context.Context) error) (tasktypes.Status, error) {
	pause := waitPause
	for failures := 1; ; failures++ {
		if err := ctx.Err(); err != nil {
			return tasktypes.Status_UNKNOWN, err
		}
		lasting, end := outlive(ctx)
		err := native(request(lasting))
		if err == nil || errdefs.IsNotFound(err) {
			end()
			return goal, err
		}
		p, lookErr := s.process(lasting, id, "")
		end()
		switch status := p.GetStatus(); {
		case lookErr != nil && errdefs.IsNotFound(lookErr):
			return tasktypes.Status_UNKNOWN, lookErr
		case lookErr != nil, ctx.Err() != nil && status != goal:
			return tasktypes.Status_UNKNOWN, endedBy(ctx, err)
		case status == goal, status == tasktypes.Status_STOPPED, status == tasktypes.Status_CREATED:
			return status, nil
		case status == tasktypes.Status_PAUSING:
			failures = 0
		case status != tasktypes.Status_PAUSED || failures >= waitFailures:
			return tasktypes.Status_UNKNOWN, err
		}
		if err := s.pause(ctx, pause); err != nil {
			return tasktypes.Status_UNKNOWN, err
		}
		pause = min(2*pause, maxWaitPause)
	}
}
