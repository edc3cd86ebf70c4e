package conformance

import (
	"context"
	"syscall"

	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

var taskHandleCases = []testCase{
	{name: "GetTask: a running task is found, with its pid", run: func(e *env) {
		id := e.start()
		task, err := e.Service.GetTask(e.ctx, id)
		e.ok(err)
		if task.ID() != id || task.Pid() != e.process(id, "").GetPid() {
			e.Errorf("got ID %q and pid %d, want %q and %d", task.ID(), task.Pid(), id, e.process(id, "").GetPid())
		}
	}},
	{name: "GetTask: a stopped task is found, with its exit code", run: func(e *env) {
		task, err := e.Service.GetTask(e.ctx, e.stopped("42"))
		e.ok(err)
		status, err := task.Status(context.Background())
		e.ok(err)
		if status.Status != client.Stopped || status.ExitStatus != 42 {
			e.Errorf("got %+v", status)
		}
	}},
	{name: "GetTask: a created task is found", run: func(e *env) {
		task, err := e.Service.GetTask(e.ctx, e.created())
		e.ok(err)
		e.handleStatus(task, client.Created)
	}},
	{name: "GetTask: a paused task is found", run: func(e *env) {
		task, err := e.Service.GetTask(e.ctx, e.paused())
		e.ok(err)
		e.handleStatus(task, client.Paused)
	}},
	{name: "GetTask: a container without a task has none to be found", run: func(e *env) {
		id := e.create()
		_, err := e.Service.GetTask(e.ctx, id)
		e.class(err, errdefs.IsNotFound, id)
	}},
	{name: "GetTask: an unknown container is not found", run: func(e *env) {
		id := e.id()
		_, err := e.Service.GetTask(e.ctx, id)
		e.class(err, errdefs.IsNotFound, id)
	}},
	{name: "GetTask: an ID that containerd would refuse is an invalid argument", run: func(e *env) {
		_, err := e.Service.GetTask(e.ctx, "a b")
		e.invalid(err, "a b", "containerID")
	}},
	{name: "a task's handle: Status and Spec work with a bare context", run: bothHandles(func(e *env, _ string, task client.Task) {
		e.handleStatus(task, client.Running)
		spec, err := task.Spec(context.Background())
		e.ok(err)
		if spec.Process == nil {
			e.Error("the spec has no process")
		}
	})},
	{name: "a task's handle: Pids and Metrics work with a bare context", run: bothHandles(func(e *env, id string, task client.Task) {
		e.need(ProcessLists)
		pids, err := task.Pids(context.Background())
		e.ok(err)
		if len(pids) == 0 || pids[0].Pid != e.process(id, "").GetPid() {
			e.Errorf("got pids %v", pids)
		}
		_, err = task.Metrics(context.Background())
		e.ok(err)
	})},
	{name: "a task's handle: Wait and Kill work with a bare context", run: bothHandles(func(e *env, id string, task client.Task) {
		exited, err := task.Wait(context.Background())
		e.ok(err)
		e.ok(task.Kill(context.Background(), syscall.SIGKILL))
		e.wantExitOf(exited, 137)
		e.wantStatus(id, "STOPPED")
	})},
	{name: "a task's handle: Pause and Resume work with a bare context", run: bothHandles(func(e *env, id string, task client.Task) {
		e.need(Pausing)
		e.ok(task.Pause(context.Background()))
		e.wantStatus(id, "PAUSED")
		e.ok(task.Resume(context.Background()))
		e.wantStatus(id, "RUNNING")
	})},
	{name: "a task's handle: Delete works with a bare context", run: bothHandles(func(e *env, id string, task client.Task) {
		e.killPlain(id)
		_, err := task.Delete(context.Background())
		e.ok(err)
		e.wantStatus(id, "")
	})},
	{name: "a task's handle: Exec and its process work with a bare context", run: bothHandles(func(e *env, id string, task client.Task) {
		process, exited := e.handleExec(id, task, "sh", "-c", "exit 42")
		e.wantExitOf(exited, 42)
		_, err := process.Delete(context.Background())
		e.ok(err)
		if e.process(id, process.ID()) != nil {
			e.Error("the exec is still there")
		}
	})},
	{name: "a task's handle: LoadProcess and its process work with a bare context", run: bothHandles(func(e *env, id string, task client.Task) {
		made, _ := e.handleExec(id, task, "sleep", "300")
		process, err := task.LoadProcess(context.Background(), made.ID(), cio.Load)
		e.ok(err)
		status, err := process.Status(context.Background())
		e.ok(err)
		if status.Status != client.Running {
			e.Errorf("got %+v", status)
		}
		exited, err := process.Wait(context.Background())
		e.ok(err)
		e.ok(process.Kill(context.Background(), syscall.SIGKILL))
		e.wantExitOf(exited, 137)
		_, err = process.Delete(context.Background())
		e.ok(err)
	})},
	{name: "a task's handle: Resize and CloseIO work with a bare context", run: func(e *env) {
		id := e.create()
		task, err := e.Service.StartTask(e.ctx, id, withTerminal)
		e.ok(err)
		e.ok(task.Resize(context.Background(), 80, 24))
		e.ok(task.CloseIO(context.Background(), client.WithStdinCloser))
		e.wantStatus(id, "RUNNING")
	}},
	{name: "a task's handle: another namespace in the context does not matter", run: bothHandles(func(e *env, id string, task client.Task) {
		elsewhere := namespaces.WithNamespace(context.Background(), "conformance-elsewhere")
		exited, err := task.Wait(elsewhere)
		e.ok(err)
		e.ok(task.Kill(elsewhere, syscall.SIGKILL))
		e.wantExitOf(exited, 137)
		_, err = task.Delete(elsewhere)
		e.ok(err)
		e.wantStatus(id, "")
	})},
	{name: "a task's handle: errors are containerd's own", run: func(e *env) {
		task, err := e.Service.GetTask(e.ctx, e.stopped("0"))
		e.ok(err)
		if err := task.Kill(context.Background(), syscall.SIGKILL); !errdefs.IsNotFound(err) {
			e.Errorf("killing a stopped task: %v", err)
		}
	}},
	{name: "a container's handle: its task works with a bare context", run: func(e *env) {
		id := e.start()
		c, err := e.Service.GetContainer(e.ctx, id)
		e.ok(err)
		task, err := c.Task(context.Background(), cio.Load)
		e.ok(err)
		exited, err := task.Wait(context.Background())
		e.ok(err)
		e.ok(task.Kill(context.Background(), syscall.SIGKILL))
		e.wantExitOf(exited, 137)
	}},
	{name: "a container's handle: NewTask and Start work with a bare context", run: func(e *env) {
		id := e.create()
		c, err := e.Service.GetContainer(e.ctx, id)
		e.ok(err)
		task, err := c.NewTask(context.Background(), cio.NullIO)
		e.ok(err)
		e.ok(task.Start(context.Background()))
		e.wantStatus(id, "RUNNING")
	}},
}

// bothHandles runs check on the handle of StartTask and on one of GetTask.
func bothHandles(check func(e *env, id string, task client.Task)) func(*env) {
	return func(e *env) {
		id := e.create("sleep", "300")
		started, err := e.Service.StartTask(e.ctx, id, nil)
		e.ok(err)
		check(e, id, started)

		id = e.start("sleep", "300")
		got, err := e.Service.GetTask(e.ctx, id)
		e.ok(err)
		check(e, id, got)
	}
}

func (e *env) handleStatus(task client.Task, want client.ProcessStatus) {
	e.Helper()
	status, err := task.Status(context.Background())
	e.ok(err)
	if status.Status != want {
		e.Errorf("status is %q, want %q", status.Status, want)
	}
}

// handleExec starts a further process through a task's handle.
func (e *env) handleExec(id string, task client.Task, args ...string) (client.Process, <-chan client.ExitStatus) {
	e.Helper()
	settings := e.spec(e.record(id)).Process
	process, err := task.Exec(context.Background(), e.id(), &specs.Process{
		Args: args, Env: settings.Env, Cwd: settings.Cwd, User: settings.User,
	}, cio.NullIO)
	e.ok(err)
	exited, err := process.Wait(context.Background())
	e.ok(err)
	e.ok(process.Start(context.Background()))
	return process, exited
}

// wantExitOf awaits an exit that a handle delivers.
func (e *env) wantExitOf(exited <-chan client.ExitStatus, want uint32) {
	e.Helper()
	status := received(e, exited)
	code, _, err := status.Result()
	e.ok(err)
	if code != want {
		e.Errorf("exit code %d, want %d", code, want)
	}
}
