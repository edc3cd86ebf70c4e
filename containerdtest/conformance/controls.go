package conformance

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"syscall"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

// controlCases are the contract of TaskController.
var controlCases = slices.Concat(signalCases, pauseCases, processCases, resourceCases)

// controller returns the service's role, or skips the case.
func (e *env) controller() containerd.TaskController {
	e.Helper()
	c, ok := e.Service.(containerd.TaskController)
	if !ok {
		e.Skip("the service is no TaskController")
	}
	return c
}

// wrongStates calls a method on a container without a task, on an unknown one,
// and on tasks that don't run.
func (e *env) wrongStates(call func(id string) error) {
	e.Helper()
	id := e.create()
	e.class(call(id), errdefs.IsNotFound, id)
	id = e.id()
	e.class(call(id), errdefs.IsNotFound, id)
	id = e.created()
	e.class(call(id), errdefs.IsFailedPrecondition, id)
	e.wantStatus(id, "CREATED")
	id = e.stopped("3")
	e.class(call(id), errdefs.IsFailedPrecondition, id)
	e.invalid(call("-a"), "-a", "containerID")
}

var signalCases = []testCase{
	{name: "SignalTask: the container's process gets the signal", run: func(e *env) {
		c := e.controller()
		id := e.startReady()
		e.ok(c.SignalTask(e.ctx, id, syscall.SIGTERM, nil))
		e.waitExit(id)
		if code := e.process(id, "").GetExitStatus(); code == 137 {
			e.Error("the task was killed")
		}
	}},
	{name: "SignalTask: nothing is waited for, and an ignored signal ends nothing", run: func(e *env) {
		c := e.controller()
		id := e.start("sleep", "300")
		e.ok(c.SignalTask(e.ctx, id, ignored, nil))
		e.ok(c.SignalTask(e.ctx, id, ignored, &containerd.SignalTaskOptions{}))
		e.wantStatus(id, "RUNNING")
		e.ok(c.SignalTask(e.ctx, id, syscall.SIGKILL, nil))
		e.wantExit(id, 137)
	}},
	{name: "SignalTask: without All other processes get nothing", run: func(e *env) {
		c := e.controller()
		id := e.start("sleep", "300")
		started := e.execEvents()
		running := async(func() error {
			_, err := e.Service.ExecTask(e.ctx, id, containerd.ExecTaskRequest{Args: []string{"sleep", "0.5"}})
			return err
		})
		received(e, started)
		e.ok(c.SignalTask(e.ctx, id, syscall.SIGUSR1, nil))
		e.ok(received(e, running))
		e.wantStatus(id, "RUNNING")
	}},
	{name: "SignalTask: with All every process gets the signal", run: signalAll},
	{name: "SignalTask: a task that does not run gives failed-precondition, and none not-found", run: func(e *env) {
		c := e.controller()
		for _, opts := range []*containerd.SignalTaskOptions{nil, {All: true}} {
			e.wrongStates(func(id string) error { return c.SignalTask(e.ctx, id, syscall.SIGUSR1, opts) })
		}
	}},
	{name: "SignalTask: signals that do not exist are invalid arguments", run: func(e *env) {
		c := e.controller()
		id := e.start()
		for _, signal := range []syscall.Signal{0, -1, 65} {
			e.invalid(c.SignalTask(e.ctx, id, signal, nil), id, "ignal")
		}
		e.wantStatus(id, "RUNNING")
	}},
	{name: "SignalTask: a context that has ended sends no signal", run: func(e *env) {
		c := e.controller()
		id := e.start()
		ctx, cancel := context.WithCancel(e.ctx)
		cancel()
		err := c.SignalTask(ctx, id, syscall.SIGKILL, nil)
		e.class(err, func(err error) bool { return errors.Is(err, context.Canceled) }, id)
		e.wantStatus(id, "RUNNING")
	}},
}

func signalAll(e *env) {
	e.need(ProcessLists)
	c := e.controller()
	id := e.start("sleep", "300")
	if e.sh(id, "sigtrap") == 127 {
		e.Skip("the image has no sigtrap")
	}
	started := e.execEvents()
	code := make(chan uint32, 1)
	running := async(func() error {
		r, err := e.Service.ExecTask(e.ctx, id, containerd.ExecTaskRequest{Args: []string{"sigtrap", "WINCH", "7"}})
		code <- r.ExitCode
		return err
	})
	received(e, started)
	for {
		// The exec does not say when it is ready; the first process ignores the signal.
		e.ok(c.SignalTask(e.ctx, id, ignored, &containerd.SignalTaskOptions{All: true}))
		select {
		case err := <-running:
			e.ok(err)
			if got := <-code; got != 7 {
				e.Errorf("the exec exited with %d, want 7", got)
			}
			e.wantStatus(id, "RUNNING")
			return
		case <-time.After(50 * time.Millisecond):
		case <-e.ctx.Done():
			e.Fatal("the exec gets no signal")
		}
	}
}

var pauseCases = []testCase{
	{name: "PauseTask: nil means that the task is paused, and ResumeTask's that it runs", run: func(e *env) {
		e.need(Pausing)
		c := e.controller()
		id := e.start("sleep", "300")
		for range 2 {
			e.ok(c.PauseTask(e.ctx, id, nil))
			e.wantStatus(id, "PAUSED")
			e.ok(c.ResumeTask(e.ctx, id, nil))
			e.wantStatus(id, "RUNNING")
		}
		e.wantTrue(id, "true", containerd.ExecTaskRequest{})
	}},
	{name: "PauseTask: a paused task is paused, and a running one runs", run: func(e *env) {
		e.need(Pausing)
		c := e.controller()
		id := e.start("sleep", "300")
		e.ok(c.ResumeTask(e.ctx, id, nil))
		e.wantStatus(id, "RUNNING")
		e.ok(c.PauseTask(e.ctx, id, nil))
		e.ok(c.PauseTask(e.ctx, id, &containerd.PauseTaskOptions{}))
		e.wantStatus(id, "PAUSED")
		e.ok(c.ResumeTask(e.ctx, id, &containerd.ResumeTaskOptions{}))
	}},
	{name: "PauseTask: a paused task can be stopped and deleted", run: func(e *env) {
		e.need(Pausing)
		c := e.controller()
		id := e.startReady()
		e.ok(c.PauseTask(e.ctx, id, nil))
		e.ok(e.Service.StopTask(e.ctx, id, nil))
		e.wantStatus(id, "STOPPED")
		id = e.start("sleep", "300")
		e.ok(c.PauseTask(e.ctx, id, nil))
		e.ok(e.Service.DeleteTask(e.ctx, id, forced))
		e.noTask(id)
	}},
	{name: "PauseTask: concurrent pauses all succeed, and so do resumptions", run: func(e *env) {
		e.need(Pausing)
		c := e.controller()
		id := e.start("sleep", "300")
		for _, err := range concurrently(16, func(int) error { return c.PauseTask(e.ctx, id, nil) }) {
			e.ok(err)
		}
		e.wantStatus(id, "PAUSED")
		for _, err := range concurrently(16, func(int) error { return c.ResumeTask(e.ctx, id, nil) }) {
			e.ok(err)
		}
		e.wantStatus(id, "RUNNING")
	}},
	{name: "PauseTask: a task that does not run gives failed-precondition, and none not-found", run: func(e *env) {
		c := e.controller()
		e.wrongStates(func(id string) error { return c.PauseTask(e.ctx, id, nil) })
		e.wrongStates(func(id string) error { return c.ResumeTask(e.ctx, id, nil) })
	}},
	{name: "PauseTask: a context that has ended pauses nothing", run: func(e *env) {
		c := e.controller()
		id := e.start()
		ctx, cancel := context.WithCancel(e.ctx)
		cancel()
		e.class(c.PauseTask(ctx, id, nil), func(err error) bool { return errors.Is(err, context.Canceled) }, id)
		e.wantStatus(id, "RUNNING")
	}},
	{name: "PauseTask: a pause that its context ends leaves a task that can be resumed", run: func(e *env) {
		e.need(Pausing)
		c := e.controller()
		id := e.start("sleep", "300")
		for _, after := range []time.Duration{0, time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond} {
			ctx, cancel := context.WithTimeout(e.ctx, after)
			err := c.PauseTask(ctx, id, nil)
			cancel()
			switch status := e.status(id); {
			case err == nil && status != "PAUSED":
				e.Errorf("after %v nil was returned, and the task is %s", after, status)
			case err != nil && !isContextEnd(err):
				e.Errorf("error is of another class: %v", err)
			}
			e.ok(c.ResumeTask(e.ctx, id, nil))
			e.wantTrue(id, "true", containerd.ExecTaskRequest{})
		}
	}},
}

var processCases = []testCase{
	{name: "ListProcesses: the container's process comes first, with the daemon's IDs", run: func(e *env) {
		e.need(ProcessLists)
		c := e.controller()
		id := e.start("sleep", "300")
		list, err := c.ListProcesses(e.ctx, id, nil)
		e.ok(err)
		if len(list) != 1 || list[0].PID != e.process(id, "").GetPid() || list[0].ExecID != "" {
			e.Errorf("processes are %+v, want the task's, %d", list, e.process(id, "").GetPid())
		}
	}},
	{name: "ListProcesses: execs are listed too, and are gone when they have ended", run: func(e *env) {
		e.need(ProcessLists)
		c := e.controller()
		id := e.start("sleep", "300")
		started := e.execEvents()
		running := async(func() error {
			_, err := e.Service.ExecTask(e.ctx, id, containerd.ExecTaskRequest{Args: []string{"sleep", "300"}})
			return err
		})
		exec := received(e, started)
		list, err := c.ListProcesses(e.ctx, id, nil)
		e.ok(err)
		if len(list) != 2 || list[0].PID != e.process(id, "").GetPid() || list[1].PID != exec.GetPid() {
			e.Errorf("processes are %+v, want %d and %d", list, e.process(id, "").GetPid(), exec.GetPid())
		}
		_, err = e.Client.TaskService().Kill(e.raw, &tasks.KillRequest{ContainerID: id, ExecID: exec.GetExecID(), Signal: 9})
		e.ok(err)
		e.ok(received(e, running))
		list, err = c.ListProcesses(e.ctx, id, nil)
		e.ok(err)
		if len(list) != 1 {
			e.Errorf("processes are %+v, want one", list)
		}
	}},
	{name: "ListProcesses: a stopped task has no processes", run: func(e *env) {
		list, err := e.controller().ListProcesses(e.ctx, e.stopped("0"), &containerd.ListProcessesOptions{})
		e.ok(err)
		if len(list) != 0 {
			e.Errorf("processes are %+v, want none", list)
		}
	}},
	{name: "ListProcesses: without a task there is none to be found", run: func(e *env) {
		c := e.controller()
		for _, id := range []string{e.create(), e.id()} {
			_, err := c.ListProcesses(e.ctx, id, nil)
			e.class(err, errdefs.IsNotFound, id)
		}
		_, err := c.ListProcesses(e.ctx, "-a", nil)
		e.invalid(err, "-a", "containerID")
	}},
}

var someResources = containerd.Resources{MemoryLimitBytes: 64 << 20, CPUs: 0.5, PIDsLimit: 50, CPUShares: 512}

var resourceCases = []testCase{
	{name: "UpdateResources: a running task's limits are changed and stored", run: func(e *env) {
		e.need(Limits)
		c := e.controller()
		id := e.start("sleep", "300")
		r, err := c.UpdateResources(e.ctx, id, someResources, nil)
		e.ok(err)
		if !r.Live {
			e.Error("the running task was not updated")
		}
		e.wantStored(id, someResources)
		e.wantTrue(id, "true", containerd.ExecTaskRequest{})
	}},
	{name: "UpdateResources: without a task that runs the limits are stored for the next one", run: func(e *env) {
		e.need(Limits)
		c := e.controller()
		for _, id := range []string{e.create("sleep", "300"), e.stopped("0")} {
			r, err := c.UpdateResources(e.ctx, id, someResources, &containerd.UpdateResourcesOptions{})
			e.ok(err)
			if r.Live {
				e.Error("there is no task that could be updated")
			}
			e.wantStored(id, someResources)
			e.setArgs(id, "sleep", "300")
			_, err = e.Service.StartTask(e.ctx, id, nil)
			e.ok(err)
			e.wantStatus(id, "RUNNING")
		}
	}},
	{name: "UpdateResources: what is not given stays as it was", run: func(e *env) {
		e.need(Limits)
		c := e.controller()
		id := e.start("sleep", "300")
		_, err := c.UpdateResources(e.ctx, id, someResources, nil)
		e.ok(err)
		before := e.spec(e.record(id))
		_, err = c.UpdateResources(e.ctx, id, containerd.Resources{PIDsLimit: 60}, nil)
		e.ok(err)
		want := someResources
		want.PIDsLimit = 60
		e.wantStored(id, want)
		after := e.spec(e.record(id))
		after.Linux.Resources.Pids = before.Linux.Resources.Pids
		if !reflect.DeepEqual(after, before) {
			e.Errorf("the stored spec differs in more than the limit: %+v, want %+v", after, before)
		}
	}},
	{name: "UpdateResources: Unlimited removes a limit", run: func(e *env) {
		e.need(Limits)
		c := e.controller()
		id := e.start("sleep", "300")
		_, err := c.UpdateResources(e.ctx, id, someResources, nil)
		e.ok(err)
		removed := containerd.Resources{MemoryLimitBytes: containerd.Unlimited, CPUs: containerd.Unlimited, PIDsLimit: containerd.Unlimited}
		_, err = c.UpdateResources(e.ctx, id, removed, nil)
		e.ok(err)
		removed.CPUShares = someResources.CPUShares
		e.wantStored(id, removed)
	}},
	{name: "UpdateResources: values that no kernel accepts change nothing", run: func(e *env) {
		c := e.controller()
		id := e.start("sleep", "300")
		before := e.record(id)
		for field, r := range map[string]containerd.Resources{
			"empty": {}, "CPUs": {CPUs: -2}, "CPUShares": {CPUShares: 1}, "CPUSet": {CPUSet: "a"}, "MemoryNodes": {MemoryNodes: "1-"},
			"MemoryLimitBytes": {MemoryLimitBytes: -2}, "MemoryReservationBytes": {MemoryReservationBytes: -1},
			"MemoryAndSwapLimitBytes": {MemoryLimitBytes: 64 << 20, MemoryAndSwapLimitBytes: 32 << 20},
			"PIDsLimit":               {PIDsLimit: -2}, "BlockIOWeight": {BlockIOWeight: 1},
		} {
			_, err := c.UpdateResources(e.ctx, id, r, nil)
			e.invalid(err, id, field)
		}
		e.wantSpec(id, before)
	}},
	{name: "UpdateResources: an unknown container is not found", run: func(e *env) {
		c := e.controller()
		id := e.id()
		_, err := c.UpdateResources(e.ctx, id, someResources, nil)
		e.class(err, errdefs.IsNotFound, id)
		_, err = c.UpdateResources(e.ctx, "-a", someResources, nil)
		e.invalid(err, "-a", "containerID")
	}},
	{name: "UpdateResources: a context that has ended changes nothing", run: func(e *env) {
		c := e.controller()
		id := e.start("sleep", "300")
		before := e.record(id)
		ctx, cancel := context.WithCancel(e.ctx)
		cancel()
		_, err := c.UpdateResources(ctx, id, someResources, nil)
		e.class(err, func(err error) bool { return errors.Is(err, context.Canceled) }, id)
		e.wantSpec(id, before)
	}},
	{name: "UpdateResources: concurrent updates of different limits are all stored", run: func(e *env) {
		e.need(Limits)
		c := e.controller()
		id := e.start("sleep", "300")
		parts := []containerd.Resources{
			{MemoryLimitBytes: someResources.MemoryLimitBytes}, {CPUs: someResources.CPUs},
			{PIDsLimit: someResources.PIDsLimit}, {CPUShares: someResources.CPUShares},
		}
		for _, err := range concurrently(len(parts), func(i int) error {
			_, err := c.UpdateResources(e.ctx, id, parts[i], nil)
			return err
		}) {
			e.ok(err)
		}
		e.wantStored(id, someResources)
	}},
}

// wantStored checks the limits of the stored spec.
func (e *env) wantStored(id string, want containerd.Resources) {
	e.Helper()
	r := e.spec(e.record(id)).Linux.Resources
	if r == nil || r.Memory == nil || r.CPU == nil || r.Pids == nil || r.Memory.Limit == nil || r.CPU.Quota == nil ||
		r.CPU.Period == nil || r.CPU.Shares == nil || r.Pids.Limit == nil {
		e.Fatalf("the stored resources are not complete: %+v", r)
	}
	quota := int64(want.CPUs * float64(*r.CPU.Period))
	if want.CPUs == containerd.Unlimited {
		quota = containerd.Unlimited
	}
	if *r.Memory.Limit != want.MemoryLimitBytes || *r.CPU.Quota != quota || *r.CPU.Shares != want.CPUShares || *r.Pids.Limit != want.PIDsLimit {
		e.Errorf("stored are a memory limit of %d, a CPU quota of %d in %d, %d shares and %d processes, want %+v",
			*r.Memory.Limit, *r.CPU.Quota, *r.CPU.Period, *r.CPU.Shares, *r.Pids.Limit, want)
	}
}
