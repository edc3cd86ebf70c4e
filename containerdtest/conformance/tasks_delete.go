package conformance

import (
	"context"
	"errors"

	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

// forced deletes tasks in every state.
var forced = &containerd.DeleteTaskOptions{Force: true}

var deleteTaskCases = []testCase{
	{name: "DeleteTask: a stopped task is deleted, and its container stays", run: func(e *env) {
		id := e.stopped("0")
		e.ok(e.Service.DeleteTask(e.ctx, id, nil))
		e.noTask(id)
		if !e.hasContainer(id) {
			e.Error("the container is gone")
		}
	}},
	{name: "DeleteTask: zero options are the same as nil", run: func(e *env) {
		id := e.stopped("0")
		e.ok(e.Service.DeleteTask(e.ctx, id, &containerd.DeleteTaskOptions{}))
		e.noTask(id)
		id = e.start()
		e.class(e.Service.DeleteTask(e.ctx, id, &containerd.DeleteTaskOptions{}), errdefs.IsFailedPrecondition, id)
	}},
	{name: "DeleteTask: a created task is deleted without Force", run: func(e *env) {
		id := e.created()
		e.ok(e.Service.DeleteTask(e.ctx, id, nil))
		e.noTask(id)
	}},
	{name: "DeleteTask: a created task is deleted with Force", run: func(e *env) {
		id := e.created()
		e.ok(e.Service.DeleteTask(e.ctx, id, forced))
		e.noTask(id)
	}},
	{name: "DeleteTask: a running task gives failed-precondition and is not touched", run: func(e *env) {
		id := e.start()
		before := e.process(id, "").GetPid()
		e.class(e.Service.DeleteTask(e.ctx, id, nil), errdefs.IsFailedPrecondition, id)
		e.wantStatus(id, "RUNNING")
		if e.process(id, "").GetPid() != before {
			e.Error("the task was replaced")
		}
	}},
	{name: "DeleteTask: a paused task gives failed-precondition and stays paused", run: func(e *env) {
		id := e.paused()
		e.class(e.Service.DeleteTask(e.ctx, id, nil), errdefs.IsFailedPrecondition, id)
		e.wantStatus(id, "PAUSED")
	}},
	{name: "DeleteTask: Force deletes a running task", run: func(e *env) {
		id := e.start("sleep", "300")
		e.ok(e.Service.DeleteTask(e.ctx, id, forced))
		e.noTask(id)
	}},
	{name: "DeleteTask: Force thaws and deletes a paused task", run: func(e *env) {
		id := e.paused("sleep", "300")
		e.ok(e.Service.DeleteTask(e.ctx, id, forced))
		e.noTask(id)
	}},
	{name: "DeleteTask: Force deletes a stopped task", run: func(e *env) {
		id := e.stopped("0")
		e.ok(e.Service.DeleteTask(e.ctx, id, forced))
		e.noTask(id)
	}},
	{name: "DeleteTask: Force deletes a task with further processes", run: func(e *env) {
		id := e.start("sleep", "300")
		started := e.execEvents()
		running := async(func() error {
			_, err := e.Service.ExecTask(e.ctx, id, containerd.ExecTaskRequest{Args: []string{"sleep", "300"}})
			return err
		})
		received(e, started)
		e.ok(e.Service.DeleteTask(e.ctx, id, forced))
		e.oneOf(received(e, running), errdefs.IsFailedPrecondition)
		e.noTask(id)
	}},
	{name: "DeleteTask: a container without a task has none to be found", run: func(e *env) {
		id := e.create()
		e.class(e.Service.DeleteTask(e.ctx, id, nil), errdefs.IsNotFound, id)
		e.class(e.Service.DeleteTask(e.ctx, id, forced), errdefs.IsNotFound, id)
	}},
	{name: "DeleteTask: deleting twice is not found the second time", run: func(e *env) {
		id := e.stopped("0")
		e.ok(e.Service.DeleteTask(e.ctx, id, nil))
		e.class(e.Service.DeleteTask(e.ctx, id, nil), errdefs.IsNotFound, id)
	}},
	{name: "DeleteTask: an unknown container is not found", run: func(e *env) {
		id := e.id()
		e.class(e.Service.DeleteTask(e.ctx, id, nil), errdefs.IsNotFound, id)
		e.class(e.Service.DeleteTask(e.ctx, id, forced), errdefs.IsNotFound, id)
	}},
	{name: "DeleteTask: an ID that containerd would refuse is an invalid argument", run: func(e *env) {
		e.invalid(e.Service.DeleteTask(e.ctx, "-a", nil), "-a", "containerID")
	}},
	{name: "DeleteTask: the container can be started again", run: func(e *env) {
		id := e.start()
		e.ok(e.Service.DeleteTask(e.ctx, id, forced))
		_, err := e.Service.StartTask(e.ctx, id, nil)
		e.ok(err)
		e.wantStatus(id, "RUNNING")
	}},
	{name: "DeleteTask: a deletion right after a kill never finds the task unstopped", run: func(e *env) {
		id := e.create("sleep", "300")
		for range 5 {
			_, err := e.Service.StartTask(e.ctx, id, nil)
			e.ok(err)
			e.ok(e.Service.DeleteTask(e.ctx, id, forced))
			e.wantStatus(id, "")
		}
	}},
	{name: "DeleteTask: of concurrent deletions the task is gone after every one that succeeds", run: func(e *env) {
		id := e.start("sleep", "300")
		deleted := 0
		for _, err := range concurrently(8, func(int) error { return e.Service.DeleteTask(e.ctx, id, forced) }) {
			if err == nil {
				deleted++
			}
			e.oneOf(err, errdefs.IsNotFound)
		}
		if deleted == 0 {
			e.Error("no deletion succeeded")
		}
		e.noTask(id)
	}},
	{name: "DeleteTask: a context that has ended deletes nothing", run: func(e *env) {
		id := e.start()
		ctx, cancel := context.WithCancel(e.ctx)
		cancel()
		err := e.Service.DeleteTask(ctx, id, forced)
		e.class(err, func(err error) bool { return errors.Is(err, context.Canceled) }, id)
		e.wantStatus(id, "RUNNING")
	}},
}
