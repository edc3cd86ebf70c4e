package conformance

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

var stopWaitCases = []testCase{
	{name: "StopTask: a task that ignores the signal gives ErrTaskStopTimeout and still runs", run: func(e *env) {
		id := e.start("sleep", "300")
		err := e.Service.StopTask(e.ctx, id, &containerd.StopTaskOptions{Signal: ignored, Timeout: shortly})
		e.stopTimeout(err, id)
		e.wantStatus(id, "RUNNING")
		e.wantTrue(id, "true", containerd.ExecTaskRequest{})
	}},
	{name: "StopTask: a timeout is waited for in full and not much longer", run: func(e *env) {
		id := e.start("sleep", "300")
		began := time.Now()
		err := e.Service.StopTask(e.ctx, id, &containerd.StopTaskOptions{Signal: ignored, Timeout: 500 * time.Millisecond})
		e.stopTimeout(err, id)
		if took := time.Since(began); took < 500*time.Millisecond || took > 500*time.Millisecond+promptly {
			e.Errorf("took %v, want 500ms", took)
		}
	}},
	{name: "StopTask: a zero timeout is 10 seconds", run: func(e *env) {
		id := e.start("sleep", "300")
		began := time.Now()
		err := e.Service.StopTask(e.ctx, id, &containerd.StopTaskOptions{Signal: ignored})
		e.stopTimeout(err, id)
		if took := time.Since(began); took < 10*time.Second || took > 10*time.Second+promptly {
			e.Errorf("took %v, want 10s", took)
		}
		e.wantStatus(id, "RUNNING")
	}},
	{name: "StopTask: a task that ends by itself meanwhile has stopped", run: func(e *env) {
		id := e.start("sh", "-c", "sleep 0.3; exit 5")
		e.ok(e.Service.StopTask(e.ctx, id, &containerd.StopTaskOptions{Signal: ignored, Timeout: time.Minute, Force: true}))
		e.wantStatus(id, "STOPPED")
		e.wantExit(id, 5)
	}},
	{name: "StopTask: Force kills what is left after the timeout", run: func(e *env) {
		id := e.start("sleep", "300")
		e.ok(e.Service.StopTask(e.ctx, id, &containerd.StopTaskOptions{Signal: ignored, Timeout: shortly, Force: true}))
		e.wantExit(id, 137)
	}},
	{name: "StopTask: Force kills all processes of the task", run: func(e *env) {
		id := e.start("sleep", "300")
		started := e.execEvents()
		running := async(func() error {
			_, err := e.Service.ExecTask(e.ctx, id, containerd.ExecTaskRequest{Args: []string{"sleep", "300"}})
			return err
		})
		received(e, started)
		e.ok(e.Service.StopTask(e.ctx, id, &containerd.StopTaskOptions{Signal: ignored, Timeout: shortly, Force: true}))
		e.wantStatus(id, "STOPPED")
		e.oneOf(received(e, running), errdefs.IsFailedPrecondition)
	}},
	{name: "StopTask: Force does not kill a task that stops by itself in time", run: func(e *env) {
		id := e.startReady()
		e.ok(e.Service.StopTask(e.ctx, id, &containerd.StopTaskOptions{Timeout: time.Minute, Force: true}))
		if code := e.process(id, "").GetExitStatus(); code == 137 {
			e.Error("the task was killed")
		}
	}},
	{name: "StopTask: a negative timeout waits until the task has stopped", run: func(e *env) {
		id := e.start("sleep", "300")
		done := async(func() error {
			return e.Service.StopTask(e.ctx, id, &containerd.StopTaskOptions{Signal: ignored, Timeout: -1})
		})
		e.settle(id)
		e.stillWaits(done)
		e.killPlain(id)
		e.ok(received(e, done))
		e.wantStatus(id, "STOPPED")
	}},
	{name: "StopTask: a negative timeout waits until the context ends, without killing", run: func(e *env) {
		id := e.start("sleep", "300")
		ctx, cancel := context.WithTimeout(e.ctx, 300*time.Millisecond)
		defer cancel()
		err := e.Service.StopTask(ctx, id, &containerd.StopTaskOptions{Signal: ignored, Timeout: -time.Second, Force: true})
		e.deadline(err, id)
		e.wantStatus(id, "RUNNING")
	}},
	{name: "StopTask: the context's deadline returns at once, with the context's error", run: func(e *env) {
		id := e.start("sleep", "300")
		ctx, cancel := context.WithTimeout(e.ctx, 200*time.Millisecond)
		defer cancel()
		e.within(200*time.Millisecond+promptly, "the stop", func() {
			e.deadline(e.Service.StopTask(ctx, id, &containerd.StopTaskOptions{Signal: ignored, Timeout: time.Minute}), id)
		})
		e.wantStatus(id, "RUNNING")
	}},
	{name: "StopTask: canceling the context returns at once, with the context's error", run: func(e *env) {
		id := e.start("sleep", "300")
		ctx, cancel := context.WithCancel(e.ctx)
		defer cancel()
		done := async(func() error {
			return e.Service.StopTask(ctx, id, &containerd.StopTaskOptions{Signal: ignored, Timeout: time.Minute, Force: true})
		})
		e.settle(id)
		cancel()
		e.within(promptly, "the stop", func() {
			err := received(e, done)
			e.class(err, func(err error) bool { return errors.Is(err, context.Canceled) }, id)
		})
		e.wantStatus(id, "RUNNING")
	}},
	{name: "StopTask: a context that has ended sends no signal", run: func(e *env) {
		id := e.start()
		ctx, cancel := context.WithCancel(e.ctx)
		cancel()
		err := e.Service.StopTask(ctx, id, nil)
		e.class(err, func(err error) bool { return errors.Is(err, context.Canceled) }, id)
		e.wantStatus(id, "RUNNING")
	}},
	{name: "StopTask: another stop succeeds while one waits, and ends it", run: func(e *env) {
		id := e.start("sleep", "300")
		first := async(func() error {
			return e.Service.StopTask(e.ctx, id, &containerd.StopTaskOptions{Signal: ignored, Timeout: -1})
		})
		e.settle(id)
		e.ok(e.Service.StopTask(e.ctx, id, &containerd.StopTaskOptions{Signal: syscall.SIGKILL}))
		e.ok(received(e, first))
		e.wantStatus(id, "STOPPED")
	}},
	{name: "StopTask: a stop that waits holds up no other method", run: stopHoldsNothingUp},
	{name: "StopTask: a task that is deleted while a stop waits has stopped", run: func(e *env) {
		id := e.start("sleep", "300")
		done := async(func() error {
			return e.Service.StopTask(e.ctx, id, &containerd.StopTaskOptions{Signal: ignored, Timeout: -1})
		})
		e.settle(id)
		e.ok(e.Service.DeleteTask(e.ctx, id, &containerd.DeleteTaskOptions{Force: true}))
		e.ok(received(e, done))
		e.wantStatus(id, "")
	}},
}

// settle does a few full execs in the task, one after the other: many more
// requests than a call makes that was begun before them. It has most likely
// come to its wait by now; if it has not, the case is weaker, not wrong.
func (e *env) settle(id string) {
	e.Helper()
	for range 3 {
		e.wantTrue(id, "true", containerd.ExecTaskRequest{})
	}
}

// ample returns d, and what a machine that is busy needs on top of it to come to
// what the case is about: much more than a few execs in the task take.
func (e *env) ample(id string, d time.Duration) time.Duration {
	e.Helper()
	began := time.Now()
	e.settle(id)
	return d + 4*time.Since(began)
}

// deadline checks that err says that the caller's context ended.
func (e *env) deadline(err error, id string) {
	e.Helper()
	e.class(err, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }, id)
	if errors.Is(err, containerd.ErrTaskStopTimeout) {
		e.Errorf("error is ErrTaskStopTimeout, but the context ended: %v", err)
	}
}

func stopHoldsNothingUp(e *env) {
	id := e.start("sleep", "300")
	done := async(func() error {
		return e.Service.StopTask(e.ctx, id, &containerd.StopTaskOptions{Signal: ignored, Timeout: -1})
	})
	e.settle(id)
	ctx, cancel := context.WithTimeout(e.ctx, 30*time.Second)
	defer cancel()
	_, err := e.Service.GetTask(ctx, id)
	e.ok(err)
	_, err = e.Service.ListTasks(ctx, nil)
	e.ok(err)
	_, err = e.Service.ExecTask(ctx, id, containerd.ExecTaskRequest{Args: []string{"true"}})
	e.ok(err)
	_, err = e.Service.StartTask(ctx, id, nil)
	e.class(err, errdefs.IsAlreadyExists, id)
	e.class(e.Service.DeleteTask(ctx, id, nil), errdefs.IsFailedPrecondition, id)
	e.class(e.Service.DeleteContainer(ctx, id, nil), errdefs.IsFailedPrecondition, id)
	e.stillWaits(done)
	e.killPlain(id)
	e.ok(received(e, done))
}
