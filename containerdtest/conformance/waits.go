package conformance

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

// waitCases are the contract of TaskWaiter.
var waitCases = []testCase{
	{name: "WaitTask: the exit code of a task that ends while it is waited for", run: func(e *env) {
		id := e.start("sh", "-c", "sleep 0.3; exit 5")
		began := time.Now()
		r := e.waitTask(id)
		if r.ExitCode != 5 || r.Signal != 0 || r.OOMKilled {
			e.Errorf("result is %+v, want exit code 5", r)
		}
		e.wantExitedAt(id, r, began)
		e.wantStatus(id, "STOPPED")
	}},
	{name: "WaitTask: the exit code of a task that has ended before", run: func(e *env) {
		began := time.Now()
		id := e.stopped("6")
		r := e.waitTask(id)
		if r.ExitCode != 6 {
			e.Errorf("exit code is %d, want 6", r.ExitCode)
		}
		e.wantExitedAt(id, r, began)
	}},
	{name: "WaitTask: exit code 0 and exit code 255 are results", run: func(e *env) {
		for code, args := range map[uint32]string{0: "exit 0", 255: "exit 255"} {
			if r := e.waitTask(e.start("sh", "-c", "sleep 0.1; "+args)); r.ExitCode != code {
				e.Errorf("exit code is %d, want %d", r.ExitCode, code)
			}
		}
	}},
	{name: "WaitTask: a task that a signal ends has that signal", run: func(e *env) {
		id := e.start("sleep", "300")
		done := e.waiting(e.ctx, id)
		e.settle(id)
		e.killPlain(id)
		a := received(e, done)
		e.ok(a.err)
		if a.result.ExitCode != 137 || a.result.Signal != syscall.SIGKILL || a.result.OOMKilled {
			e.Errorf("result is %+v, want a kill that was not for memory", a.result)
		}
	}},
	{name: "WaitTask: a created task is waited for until it was started and has ended", run: func(e *env) {
		id := e.created("sh", "-c", "exit 4")
		done := e.waiting(e.ctx, id)
		e.ok(e.plainTask(id).Start(e.raw))
		a := received(e, done)
		e.ok(a.err)
		if a.result.ExitCode != 4 {
			e.Errorf("exit code is %d, want 4", a.result.ExitCode)
		}
	}},
	{name: "WaitTask: concurrent waits all get the same answer", run: func(e *env) {
		w := e.waiter()
		id := e.start("sh", "-c", "sleep 0.3; exit 9")
		results := make([]containerd.WaitTaskResult, 16)
		for _, err := range concurrently(len(results), func(i int) (err error) {
			results[i], err = w.WaitTask(e.ctx, id, nil)
			return err
		}) {
			e.ok(err)
		}
		for _, r := range results {
			if r.ExitCode != 9 || !r.ExitedAt.Equal(results[0].ExitedAt) {
				e.Errorf("result is %+v, another one %+v", r, results[0])
			}
		}
	}},
	{name: "WaitTask: nil and zero options are the same", run: func(e *env) {
		id := e.stopped("3")
		r, err := e.waiter().WaitTask(e.ctx, id, &containerd.WaitTaskOptions{})
		e.ok(err)
		if r != e.waitTask(id) {
			e.Errorf("with zero options the result is %+v", r)
		}
	}},
	{name: "WaitTask: a container without a task has none to be found", run: func(e *env) {
		id := e.create()
		_, err := e.waiter().WaitTask(e.ctx, id, nil)
		e.class(err, errdefs.IsNotFound, id)
	}},
	{name: "WaitTask: an unknown container is not found", run: func(e *env) {
		id := e.id()
		_, err := e.waiter().WaitTask(e.ctx, id, nil)
		e.class(err, errdefs.IsNotFound, id)
	}},
	{name: "WaitTask: an ID that containerd would refuse is an invalid argument", run: func(e *env) {
		_, err := e.waiter().WaitTask(e.ctx, "-a", nil)
		e.invalid(err, "-a", "containerID")
	}},
	{name: "WaitTask: the context's end returns at once, and the task runs on", run: func(e *env) {
		id := e.start("sleep", "300")
		ctx, cancel := context.WithTimeout(e.ctx, 200*time.Millisecond)
		defer cancel()
		e.within(200*time.Millisecond+promptly, "the wait", func() {
			_, err := e.waiter().WaitTask(ctx, id, nil)
			e.class(err, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }, id)
		})
		e.wantStatus(id, "RUNNING")
	}},
	{name: "WaitTask: a wait holds up no other method", run: func(e *env) {
		id := e.start("sleep", "300")
		done := e.waiting(e.ctx, id)
		e.settle(id)
		e.ok(e.Service.StopTask(e.ctx, id, kill))
		e.ok(received(e, done).err)
	}},
	{name: "WaitTask: a task that is deleted by force while it is waited for gives its exit, or says that it is unknown", run: func(e *env) {
		id := e.start("sleep", "300")
		done := e.waiting(e.ctx, id)
		e.settle(id)
		e.ok(e.Service.DeleteTask(e.ctx, id, forced))
		e.exitOrUnknown(received(e, done), id, 137)
	}},
	{name: "WaitTask: a daemon's restart is no exit", needs: needsRestart, run: func(e *env) {
		id := e.start("sleep", "300")
		done := e.waiting(e.ctx, id)
		e.settle(id)
		e.Restart(e.T)
		e.wantStatus(id, "RUNNING")
		select {
		case a := <-done:
			e.Fatalf("the wait has returned: %+v", a)
		case <-time.After(300 * time.Millisecond):
		}
		e.killPlain(id)
		a := received(e, done)
		e.ok(a.err)
		if a.result.ExitCode != 137 {
			e.Errorf("exit code is %d, want 137", a.result.ExitCode)
		}
	}},
	{name: "WaitTask: a task that ends around a daemon's restart gives its exit, or says that it is unknown", needs: needsRestart, run: func(e *env) {
		for _, after := range []string{"0", "0.1", "0.3"} {
			id := e.start("sh", "-c", "until [ -e /go ]; do sleep 0.01; done; sleep "+after+"; exit 42")
			done := e.waiting(e.ctx, id)
			e.settle(id)
			if _, err := e.Service.ExecTask(e.ctx, id, containerd.ExecTaskRequest{Args: []string{"sh", "-c", ": >/go"}}); err != nil {
				e.Logf("the task has ended before, and taken it with it: %v", err)
			}
			e.Restart(e.T)
			e.exitOrUnknown(received(e, done), id, 42)
		}
	}},
}

// waiter returns the service's role, or skips the case.
func (e *env) waiter() containerd.TaskWaiter {
	e.Helper()
	w, ok := e.Service.(containerd.TaskWaiter)
	if !ok {
		e.Skip("the service is no TaskWaiter")
	}
	return w
}

// waitTask waits for a task that ends.
func (e *env) waitTask(id string) containerd.WaitTaskResult {
	e.Helper()
	r, err := e.waiter().WaitTask(e.ctx, id, nil)
	e.ok(err)
	return r
}

type waitAnswer struct {
	result containerd.WaitTaskResult
	err    error
}

// waiting begins to wait for a task.
func (e *env) waiting(ctx context.Context, id string) <-chan waitAnswer {
	e.Helper()
	w := e.waiter()
	done := make(chan waitAnswer, 1)
	go func() {
		r, err := w.WaitTask(ctx, id, nil)
		done <- waitAnswer{r, err}
	}()
	return done
}

// exitOrUnknown checks that an answer is the truth, as far as it is known.
func (e *env) exitOrUnknown(a waitAnswer, id string, want uint32) {
	e.Helper()
	if a.err == nil {
		if a.result.ExitCode != want {
			e.Errorf("exit code is %d, want %d", a.result.ExitCode, want)
		}
		return
	}
	e.class(a.err, errdefs.IsDataLoss, id)
	if !errors.Is(a.err, containerd.ErrExitUnknown) {
		e.Errorf("error is not ErrExitUnknown: %v", a.err)
	}
}

// wantExitedAt checks the time of an exit after began with the daemon's.
func (e *env) wantExitedAt(id string, r containerd.WaitTaskResult, began time.Time) {
	e.Helper()
	if at := e.process(id, "").GetExitedAt().AsTime(); !at.Equal(r.ExitedAt) {
		e.Errorf("exited at %v, but the daemon says %v", r.ExitedAt, at)
	}
	if r.ExitedAt.Before(began.Add(-time.Minute)) || r.ExitedAt.After(time.Now().Add(time.Minute)) {
		e.Errorf("exited at %v, but it is %v", r.ExitedAt, time.Now())
	}
}
