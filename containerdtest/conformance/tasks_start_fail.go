package conformance

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/containerd/containerd/api/events"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

var startFailureCases = []testCase{
	{name: "StartTask: a missing executable is a not-found error and leaves no task", run: func(e *env) {
		id := e.create("/absent/program")
		_, err := e.Service.StartTask(e.ctx, id, nil)
		e.class(err, errdefs.IsNotFound, id)
		e.noTask(id)
	}},
	{name: "StartTask: a name that is not in the PATH is a not-found error", run: func(e *env) {
		id := e.create("no-such-program")
		_, err := e.Service.StartTask(e.ctx, id, nil)
		e.class(err, errdefs.IsNotFound, id)
		e.noTask(id)
	}},
	{name: "StartTask: a directory can't be executed: permission-denied, and no task is left", run: func(e *env) {
		id := e.create("/")
		_, err := e.Service.StartTask(e.ctx, id, nil)
		e.class(err, errdefs.IsPermissionDenied, id)
		e.noTask(id)
	}},
	{name: "StartTask: a failed start fails the same way again", run: func(e *env) {
		id := e.create("/absent/program")
		for range 3 {
			_, err := e.Service.StartTask(e.ctx, id, nil)
			e.class(err, errdefs.IsNotFound, id)
		}
		e.noTask(id)
	}},
	{name: "StartTask: after a failed start the container can be repaired and started", run: func(e *env) {
		id := e.create("/absent/program")
		_, err := e.Service.StartTask(e.ctx, id, nil)
		e.class(err, errdefs.IsNotFound, id)
		e.setArgs(id, "sh", "-c", "exit 7")
		_, err = e.Service.StartTask(e.ctx, id, nil)
		e.ok(err)
		e.wantExit(id, yes)
	}},
	{name: "StartTask: after a failed start the container can be deleted", run: func(e *env) {
		id := e.create("/absent/program")
		_, err := e.Service.StartTask(e.ctx, id, nil)
		e.class(err, errdefs.IsNotFound, id)
		e.ok(e.Service.DeleteContainer(e.ctx, id, nil))
		if e.hasContainer(id) {
			e.Error("the container is still there")
		}
	}},
	{name: "StartTask: a failed start leaves the stored spec as it was", run: func(e *env) {
		id := e.create("/absent/program")
		before := e.record(id)
		_, err := e.Service.StartTask(e.ctx, id, withTerminal)
		e.class(err, errdefs.IsNotFound, id)
		e.wantSpec(id, before)
		e.noTask(id)
	}},
	{name: "StartTask: FIFODir is made, and after a failed start only our part of it is gone", run: failedStartFIFOs},
	{name: "StartTask: a FIFODir that can't be made fails the call before a task is made", run: func(e *env) {
		id := e.create()
		file := filepath.Join(e.TempDir(), "file")
		e.ok(os.WriteFile(file, nil, 0o600))
		_, err := e.Service.StartTask(e.ctx, id, &containerd.StartTaskOptions{UseStdio: true, FIFODir: filepath.Join(file, "below")})
		e.class(err, func(error) bool { return true }, id)
		e.noTask(id)
	}},
	{name: "StartTask: concurrent failing starts leave no task", run: func(e *env) {
		id := e.create("/absent/program")
		for _, err := range concurrently(8, func(int) error {
			_, err := e.Service.StartTask(e.ctx, id, nil)
			return err
		}) {
			e.class(err, errdefs.IsNotFound, id)
		}
		e.noTask(id)
	}},
	{name: "StartTask: a context that has ended starts nothing", run: func(e *env) {
		id := e.create()
		ctx, cancel := context.WithCancel(e.ctx)
		cancel()
		_, err := e.Service.StartTask(ctx, id, nil)
		e.class(err, func(err error) bool { return errors.Is(err, context.Canceled) }, id)
		e.noTask(id)
	}},
	{name: "StartTask: a context that ends meanwhile gives either a running task or none", run: startCutShort},
	{name: "StartTask: a context that is cancelled when the task has just been made gives either a running task or none", run: startCancelledHalfWay},
}

// noTask checks that the daemon knows of no task and no shim of it: a new one
// could be made, and the list has none.
func (e *env) noTask(id string) {
	e.Helper()
	e.wantStatus(id, "")
	if slices.Contains(e.listedTasks(), id) {
		e.Errorf("the daemon still lists a task of %s", id)
	}
}

// failedStartFIFOs needs no output: the program never runs.
func failedStartFIFOs(e *env) {
	id := e.create("/absent/program")
	dir := filepath.Join(e.TempDir(), "made", "by", "start")
	opts := &containerd.StartTaskOptions{UseStdio: true, FIFODir: dir}
	_, err := e.Service.StartTask(e.ctx, id, opts)
	e.class(err, errdefs.IsNotFound, id)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		e.Errorf("FIFODir was not made, or removed: %v", err)
	}
	e.ok(os.MkdirAll(dir, 0o700))
	e.ok(os.WriteFile(filepath.Join(dir, "foreign"), nil, 0o600))
	_, err = e.Service.StartTask(e.ctx, id, opts)
	e.class(err, errdefs.IsNotFound, id)
	if names := dirNames(e.T, dir); len(names) != 1 || names[0] != "foreign" {
		e.Errorf("FIFODir has %v, want only the file that was there before", names)
	}
	e.noTask(id)
}

// startCutShort ends the context at different moments of a start.
func startCutShort(e *env) {
	id := e.create()
	for _, after := range []time.Duration{1, 5, 10, 20, 30, 45, 60, 90, 120} {
		ctx, cancel := context.WithTimeout(e.ctx, after*time.Millisecond)
		var err error
		e.within(after*time.Millisecond+promptly, "the start", func() {
			_, err = e.Service.StartTask(ctx, id, nil)
		})
		cancel()
		if err == nil {
			e.wantStatus(id, "RUNNING")
			e.ok(e.Service.DeleteTask(e.ctx, id, &containerd.DeleteTaskOptions{Force: true}))
			continue
		}
		e.class(err, isContextEnd, id)
		e.wantStatus(id, "")
	}
	_, err := e.Service.StartTask(e.ctx, id, nil)
	e.ok(err)
}

// startCancelledHalfWay cancels the context when the daemon tells that it has
// made the task: that is between the two requests of a start, or about then.
func startCancelledHalfWay(e *env) {
	id := e.create()
	made := subscribe[*events.TaskCreate](e, "/tasks/create")
	for range 5 {
		ctx, cancel := context.WithCancel(e.ctx)
		done := async(func() error { return fails(e.Service.StartTask(ctx, id, nil)) })
		received(e, made)
		cancel()
		var err error
		e.within(promptly, "the start", func() { err = received(e, done) })
		if err == nil {
			e.wantStatus(id, "RUNNING")
			e.ok(e.Service.DeleteTask(e.ctx, id, forced))
			continue
		}
		e.class(err, isContextEnd, id)
		e.noTask(id)
		if e.Failed() {
			return // a task that is left blocks the next start
		}
	}
	_, err := e.Service.StartTask(e.ctx, id, nil)
	e.ok(err)
}
