package containerd

import (
	"context"
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

// endingLimit is how long an exec that failed for no known reason waits for
// the task's exit, which would be the reason.
const endingLimit = 250 * time.Millisecond

// runtimeFailure is the exit code of a runtime that could not replace itself
// by the program. Newer versions of runc report that in no other way, but a
// program can exit with it too.
const runtimeFailure = 255

func (e *executing) run(ctx, lasting context.Context, process *specs.Process, req ExecTaskRequest) (uint32, error) {
	s := e.service
	want := stdio{attached: req.UseStdio, terminal: req.Terminal}
	io, err := s.openStdio(ctx, want, e.containerID, e.execID)
	if err != nil {
		return 0, err
	}
	e.undo.push("streams", func(context.Context) error { return io.Close() })
	if err := e.create(lasting, process, io.Config()); err != nil {
		return 0, e.explain(ctx, err)
	}
	w := s.startWait(ctx, e.containerID, e.execID)
	defer w.stop()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := e.start(lasting); err != nil {
		return 0, e.explain(ctx, err)
	}
	if attached, ok := io.(*streams); ok {
		attached.begin()
	}
	ended, err := w.result(ctx)
	if err != nil {
		return 0, err
	}
	if ended.gone {
		return 0, fmt.Errorf("%w: %w", errExecGone, errdefs.ErrFailedPrecondition)
	}
	if err := e.finish(lasting, io); err != nil {
		return 0, err
	}
	e.undo = undo{}
	if ended.code == runtimeFailure {
		return ended.code, e.probe(lasting, process)
	}
	return ended.code, nil
}

func (e *executing) create(ctx context.Context, process *specs.Process, config cio.Config) error {
	spec, err := typeurl.MarshalAnyToProto(process)
	if err != nil {
		return err
	}
	e.undo.push("exec "+e.execID, e.remove)
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
	_, err := e.service.client.TaskService().Start(ctx, &tasks.StartRequest{ContainerID: e.containerID, ExecID: e.execID})
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
	if stateErr == nil && errdefs.IsInternal(err) && e.taskEnds(ctx) {
		stateErr = e.service.checkRunning(ctx, e.containerID)
	}
	if errdefs.IsFailedPrecondition(stateErr) {
		return stateErr
	}
	return err
}

// taskEnds waits briefly for the task's exit: a task whose process was killed
// still counts as running until its shim has seen the end.
func (e *executing) taskEnds(ctx context.Context) bool {
	ctx, cancel := within(ctx, e.service.clock.NewTimer, endingLimit)
	defer cancel()
	w := e.service.startWait(ctx, e.containerID, "")
	defer w.stop()
	_, err := w.result(ctx)
	return err == nil
}

// finish drains the output of the ended process and removes its record. The
// exit code is known, so what can't be removed now is the cleaner's.
func (e *executing) finish(ctx context.Context, io cio.IO) error {
	drained := true
	if attached, ok := io.(*streams); ok {
		var err error
		if drained, err = attached.finish(ctx); err != nil {
			return err
		}
	}
	if drained && e.delete(ctx) == nil {
		return nil
	}
	left := &undo{}
	left.push("exec "+e.execID, e.delete)
	e.service.cleaner.add(e.lockID(), e.service, left)
	return nil
}

// remove is the undo step of the exec: it kills the process if it was started.
func (e *executing) remove(ctx context.Context) error {
	s := e.service
	w := s.startWait(ctx, e.containerID, e.execID)
	defer w.stop()
	_, err := s.client.TaskService().Kill(ctx, &tasks.KillRequest{
		ContainerID: e.containerID, ExecID: e.execID, Signal: uint32(unix.SIGKILL),
	})
	switch err = native(err); {
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
func (e *executing) lockID() string { return "exec " + e.execID }

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
