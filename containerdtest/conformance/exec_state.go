package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

var execStateCases = []testCase{
	{name: "ExecTask: an unknown container is not found", run: func(e *env) {
		id := e.id()
		_, err := e.Service.ExecTask(e.ctx, id, containerd.ExecTaskRequest{Args: []string{"true"}})
		e.class(err, errdefs.IsNotFound, id)
	}},
	{name: "ExecTask: a container without a task gives failed-precondition", run: notRunning((*env).create)},
	{name: "ExecTask: a stopped task gives failed-precondition", run: notRunning(func(e *env, _ ...string) string { return e.stopped("0") })},
	{name: "ExecTask: a created task gives failed-precondition, and stays created", run: func(e *env) {
		notRunning((*env).created)(e)
	}},
	{name: "ExecTask: a paused task gives failed-precondition, and stays paused", run: func(e *env) {
		id := e.paused()
		_, err := e.Service.ExecTask(e.ctx, id, containerd.ExecTaskRequest{Args: []string{"true"}})
		e.class(err, errdefs.IsFailedPrecondition, id)
		e.wantStatus(id, "PAUSED")
	}},
	{name: "ExecTask: execs that race the task's exit end in a result or failed-precondition", run: execRacesExit},
	{name: "ExecTask: execs that race the task's deletion end in a result or failed-precondition", run: execRacesDeletion},
	{name: "ExecTask: a process that is killed with its task does not hang", run: func(e *env) {
		id := e.start("sleep", "300")
		started := e.execEvents()
		done := async(func() error {
			_, err := e.Service.ExecTask(e.ctx, id, containerd.ExecTaskRequest{Args: []string{"sleep", "300"}})
			return err
		})
		received(e, started)
		e.killPlain(id)
		e.within(10*time.Second, "the exec", func() { e.oneOf(received(e, done), errdefs.IsFailedPrecondition) })
	}},
}

// notRunning checks an exec in a container that makes leaves without a running task.
func notRunning(makes func(e *env, args ...string) string) func(*env) {
	return func(e *env) {
		id := makes(e)
		before := e.status(id)
		_, err := e.Service.ExecTask(e.ctx, id, containerd.ExecTaskRequest{Args: []string{"true"}})
		e.class(err, errdefs.IsFailedPrecondition, id)
		e.wantStatus(id, before)
	}
}

func execRacesExit(e *env) {
	e.execRaces(func(id string) error {
		_, err := e.Client.TaskService().Kill(e.raw, &tasks.KillRequest{ContainerID: id, Signal: 9, All: true})
		return err
	})
}

func execRacesDeletion(e *env) {
	e.execRaces(func(id string) error { return e.Service.DeleteTask(e.ctx, id, forced) })
}

// execRaces ends the task while several callers run one process after another
// in it, until each gets an error.
func (e *env) execRaces(end func(id string) error) {
	e.Helper()
	id := e.create("sleep", "300")
	for range 3 {
		_, err := e.Service.StartTask(e.ctx, id, nil)
		e.ok(err)
		var first sync.Once
		began := make(chan struct{})
		ended := async(func() error {
			<-began
			return end(id)
		})
		for _, err := range concurrently(4, func(int) error {
			for {
				result, err := e.Service.ExecTask(e.ctx, id, containerd.ExecTaskRequest{Args: []string{"sh", "-c", "exit 7"}})
				if err != nil {
					return err
				}
				if result.ExitCode != yes && result.ExitCode != 137 {
					e.Errorf("exit code %d, want %d, or 137 if it was killed", result.ExitCode, yes)
				}
				first.Do(func() { close(began) })
			}
		}) {
			first.Do(func() { close(began) })
			e.class(err, errdefs.IsFailedPrecondition, id)
		}
		e.ok(received(e, ended))
		if e.status(id) != "" {
			e.waitExit(id)
		}
	}
}

// leaveChild is the begin of a shell line. It leaves a child behind that holds
// the streams open for a minute: hold is sure to start one, where the shell may
// run background jobs in its own process, and other images don't have it.
const leaveChild = "hold 60 || { sleep 60 & }; "

var execEndCases = []testCase{
	{name: "ExecTask: canceling the context kills the process and removes the exec before the call returns", run: func(e *env) {
		e.execCutShort(0, containerd.ExecTaskRequest{Args: []string{"sleep", "300"}})
	}},
	{name: "ExecTask: the context's deadline kills the process and removes the exec before the call returns", run: func(e *env) {
		e.execCutShort(3*time.Second, containerd.ExecTaskRequest{Args: []string{"sleep", "300"}})
	}},
	{name: "ExecTask: canceling the context kills a process with a terminal", run: func(e *env) {
		e.execCutShort(0, containerd.ExecTaskRequest{Args: []string{"sleep", "300"}, Terminal: true})
	}},
	{name: "ExecTask: canceling the context kills a process that writes without end", run: func(e *env) {
		e.execCutShort(0, containerd.ExecTaskRequest{Args: []string{"sh", "-c", "while true; do echo x; done"}})
	}},
	{name: "ExecTask: a context that has ended runs nothing", run: func(e *env) {
		id := e.start()
		ctx, cancel := context.WithCancel(e.ctx)
		cancel()
		_, err := e.Service.ExecTask(ctx, id, containerd.ExecTaskRequest{Args: []string{"sh", "-c", "echo > /ran"}})
		e.class(err, func(err error) bool { return errors.Is(err, context.Canceled) }, id)
		e.wantTrue(id, "[ ! -e /ran ]", containerd.ExecTaskRequest{})
	}},
	{name: "ExecTask: a context that ends at any moment leaves no process", run: func(e *env) {
		id := e.start()
		for _, after := range []time.Duration{1, 5, 10, 20, 40, 80, 160} {
			ctx, cancel := context.WithTimeout(e.ctx, after*time.Millisecond)
			e.within(after*time.Millisecond+promptly, "the exec", func() {
				_, err := e.Service.ExecTask(ctx, id, containerd.ExecTaskRequest{Args: []string{"sleep", "300"}})
				e.class(err, isContextEnd, id)
			})
			cancel()
			e.onlyInit(id)
		}
	}},
	{name: "ExecTask: canceling one process does not touch another", run: func(e *env) {
		id := e.start()
		started := e.execEvents()
		ctx, cancel := context.WithCancel(e.ctx)
		defer cancel()
		canceled := async(func() error {
			_, err := e.Service.ExecTask(ctx, id, containerd.ExecTaskRequest{Args: []string{"sleep", "300"}})
			return err
		})
		received(e, started)
		other := async(func() error {
			_, err := e.Service.ExecTask(e.ctx, id, containerd.ExecTaskRequest{Args: []string{"sleep", "300"}})
			return err
		})
		second := received(e, started)
		cancel()
		if err := received(e, canceled); !errors.Is(err, context.Canceled) {
			e.Errorf("the canceled process gives %v", err)
		}
		e.stillWaits(other)
		e.killExec(id, second.GetExecID())
		e.ok(received(e, other))
	}},
	{name: "ExecTask: a child that outlives the process does not delay the result", run: func(e *env) {
		id := e.start()
		e.within(10*time.Second, "the exec", func() {
			code := e.exec(id, containerd.ExecTaskRequest{Args: []string{"sh", "-c", leaveChild + "exit 7"}})
			if code != yes {
				e.Errorf("exit code %d, want %d", code, yes)
			}
		})
		e.wantProcesses(id, 2)
	}},
	{name: "ExecTask: execs hold up no stop, and a stop ends them", run: func(e *env) {
		id := e.start()
		started := e.execEvents()
		done := async(func() error {
			_, err := e.Service.ExecTask(e.ctx, id, containerd.ExecTaskRequest{Args: []string{"sleep", "300"}})
			return err
		})
		received(e, started)
		e.ok(e.Service.StopTask(e.ctx, id, kill))
		e.wantStatus(id, "STOPPED")
		e.oneOf(received(e, done), errdefs.IsFailedPrecondition)
	}},
}

// execCutShort ends the context of a process that runs, by a deadline or, if that
// is 0, by canceling, and checks that nothing of it is left when the call returns.
func (e *env) execCutShort(deadline time.Duration, req containerd.ExecTaskRequest) {
	e.Helper()
	id := e.start()
	started := e.execEvents()
	ctx, end := context.WithCancel(e.ctx)
	want := context.Canceled
	if deadline > 0 {
		ctx, end = context.WithTimeout(e.ctx, deadline)
		want = context.DeadlineExceeded
	}
	defer end()
	done := async(func() error {
		_, err := e.Service.ExecTask(ctx, id, req)
		return err
	})
	event := received(e, started)
	if deadline > 0 {
		<-ctx.Done()
	}
	end()
	e.within(promptly, "the exec", func() {
		e.class(received(e, done), func(err error) bool { return errors.Is(err, want) }, id)
	})
	if e.process(id, event.GetExecID()) != nil {
		e.Error("the exec is still there")
	}
	e.onlyInit(id)
	e.wantStatus(id, "RUNNING")
}

// onlyInit checks that the task runs no process but its first.
func (e *env) onlyInit(id string) {
	e.Helper()
	e.wantProcesses(id, 1)
}

// wantProcesses checks how many processes the task runs.
func (e *env) wantProcesses(id string, want int) {
	e.Helper()
	if _, lacks := e.Lacks[ProcessLists]; lacks {
		// The process that counts is one more.
		e.wantTrue(id, fmt.Sprintf("n=0; for dir in /proc/[0-9]*; do n=$((n+1)); done; [ $n = %d ]", want+1), containerd.ExecTaskRequest{})
		return
	}
	pids, err := e.plainTask(id).Pids(e.raw)
	e.ok(err)
	if len(pids) != want {
		e.Errorf("the task has processes %v, want %d", pids, want)
	}
}

// killExec kills a further process with the plain client.
func (e *env) killExec(id, execID string) {
	e.Helper()
	_, err := e.Client.TaskService().Kill(e.raw, &tasks.KillRequest{ContainerID: id, ExecID: execID, Signal: 9})
	e.ok(err)
}
