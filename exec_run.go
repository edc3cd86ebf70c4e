package containerd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// execDeleteLimit is how long the removal of an exec may wait in the shim for
// output that a child of the process still holds open.
const execDeleteLimit = time.Second

// runtimeFailure is the exit code of a runtime that could not replace itself
// by the program. Newer versions of runc report that in no other way, but a
// program can exit with it too.
const runtimeFailure = 255

// errExecGone says that nobody can tell how an exec ended.
var errExecGone = errors.New("the process was removed before its exit code was read")

// executing is one exec. As with a start, the requests that make something are
// not cut short when the call's context ends.
type executing struct {
	service             *DefaultService
	containerID, execID string
	chosen              bool // the ID is a caller's: another exec may have it
	process             *specs.Process

	io   cio.IO
	pid  uint32
	wait *waiting // for the exit; nil if nobody waits
	undo undo
}

// run runs the process to its end and returns its exit code.
func (e *executing) run(ctx, lasting context.Context, want stdio) (uint32, error) {
	defer e.stopWait()
	if err := e.begin(ctx, lasting, ctx, want); err != nil {
		return 0, err
	}
	ended, err := e.wait.result(ctx)
	if err != nil {
		return 0, err
	}
	if ended.gone {
		return 0, fmt.Errorf("%w: %w", errExecGone, errdefs.ErrFailedPrecondition)
	}
	drained, err := e.finish(ctx, lasting)
	if err == nil && !drained {
		err = firstError(ctx.Err(), e.service.closedError())
	}
	if err != nil {
		return 0, err
	}
	return ended.code, e.misfire(lasting, ended.code)
}

// begin makes the exec and starts it. Its exit is waited for until life ends;
// nil if nobody needs to know it. After an error, undo takes back what was made.
func (e *executing) begin(ctx, lasting, life context.Context, want stdio) (err error) {
	s := e.service
	if e.io, err = s.openStdio(ctx, want, e.containerID, e.execID); err != nil {
		return err
	}
	e.undo.push("exec "+e.execID, e.takeDown)
	if err := e.create(lasting); err != nil {
		return e.explain(ctx, err)
	}
	if life != nil {
		e.wait = s.startWait(life, e.containerID, e.execID)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := e.start(lasting); err != nil {
		return e.explain(ctx, err)
	}
	if st := e.streams(); st != nil {
		st.begin()
	}
	return nil
}

// streams returns the process's streams, nil if it has none in this process.
func (e *executing) streams() *streams {
	st, _ := e.io.(*streams)
	return st
}

func (e *executing) stopWait() {
	if e.wait != nil {
		e.wait.stop()
	}
}

// misfire returns the reason for an exit code that was the runtime's.
func (e *executing) misfire(ctx context.Context, code uint32) error {
	if code != runtimeFailure {
		return nil
	}
	return e.probe(ctx)
}

func (e *executing) create(ctx context.Context) error {
	spec, err := typeurl.MarshalAnyToProto(e.process)
	if err != nil {
		return err
	}
	config := e.io.Config()
	_, err = e.service.client.TaskService().Exec(ctx, &tasks.ExecProcessRequest{
		ContainerID: e.containerID,
		ExecID:      e.execID,
		Terminal:    config.Terminal,
		Stdin:       config.Stdin,
		Stdout:      config.Stdout,
		Stderr:      config.Stderr,
		Spec:        spec,
	})
	return native(err)
}

func (e *executing) start(ctx context.Context) error {
	r, err := e.service.client.TaskService().Start(ctx, &tasks.StartRequest{ContainerID: e.containerID, ExecID: e.execID})
	e.pid = r.GetPid()
	return native(err)
}

// explain gives the error of an exec that was not started its class: what the
// runtime says of the program, else that the task has ended meanwhile.
func (e *executing) explain(ctx context.Context, err error) error {
	if class := runtimeClass(err); class != nil && errdefs.IsInternal(err) {
		return startError(err)
	}
	if isContextError(err) || errdefs.IsUnavailable(err) {
		return err
	}
	stateErr := e.service.checkRunning(ctx, e.containerID)
	if stateErr == nil && errdefs.IsInternal(err) && e.service.taskEnds(ctx, e.containerID) {
		stateErr = e.service.checkRunning(ctx, e.containerID)
	}
	if errdefs.IsFailedPrecondition(stateErr) {
		return stateErr
	}
	return err
}

// finish drains the output of the ended process until ctx ends, removes its
// record, and reports whether the output had ended. The exit code is known, so
// what can't be removed now is the cleaner's.
func (e *executing) finish(ctx, lasting context.Context) (drained bool, err error) {
	drained = true
	if st := e.streams(); st != nil {
		if drained, err = st.finish(ctx); err != nil {
			return drained, err
		}
	}
	e.undo = undo{}
	// The shim takes its time to remove an exec whose output a child holds open.
	if (drained || ctx.Err() != nil || isClosed(e.service.closed)) && e.delete(lasting) == nil {
		return drained, nil
	}
	left := &undo{}
	left.push("exec "+e.execID, e.delete)
	e.service.cleaner.add(e.lockID(), e.service, left)
	return drained, nil
}

// takeDown is the undo step of the exec: it removes what this call made, and
// then closes the streams. If the exec can't be removed, it may be about to be
// started, and open them.
func (e *executing) takeDown(ctx context.Context) error {
	err := native(e.removeOwn(ctx))
	if err == nil || errdefs.IsNotFound(err) {
		return e.io.Close()
	}
	if st := e.streams(); st != nil {
		err = errors.Join(err, st.mute())
	}
	return err
}

// removeOwn removes the exec if this call made it. One with an ID that the
// caller chose may be another's.
func (e *executing) removeOwn(ctx context.Context) error {
	if e.chosen {
		p, err := e.service.process(ctx, e.containerID, e.execID)
		if err != nil {
			return err
		}
		config := e.io.Config()
		if p.GetStdin() != config.Stdin || p.GetStdout() != config.Stdout || p.GetStderr() != config.Stderr {
			return nil
		}
	}
	return e.remove(ctx)
}

// remove kills the process if it was started, and removes its record.
func (e *executing) remove(ctx context.Context) error {
	s := e.service
	w := s.startWait(ctx, e.containerID, e.execID)
	defer w.stop()
	switch err := s.killExec(ctx, e.containerID, e.execID, unix.SIGKILL); {
	case err == nil:
		if _, err := w.result(ctx); err != nil {
			return err
		}
	case errdefs.IsNotFound(err), errdefs.IsFailedPrecondition(err): // ended, or never started
	default:
		return err
	}
	return e.delete(ctx)
}

// lockID is what the cleaner locks to finish the exec: an ID of its own, so that
// the container's waits for nothing.
func (e *executing) lockID() string { return "exec " + e.containerID + "/" + e.execID }

// delete removes the exec's record. One that is gone is fine.
func (e *executing) delete(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, execDeleteLimit)
	defer cancel()
	_, err := e.service.client.TaskService().DeleteProcess(ctx, &tasks.DeleteProcessRequest{
		ContainerID: e.containerID, ExecID: e.execID,
	})
	if err = native(err); errdefs.IsNotFound(err) {
		return nil
	}
	return err
}
