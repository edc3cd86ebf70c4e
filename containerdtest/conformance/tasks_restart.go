package conformance

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

// afterRestart bounds the first calls after the daemon is back.
const afterRestart = 2 * time.Second

var taskRestartCases = []testCase{
	{name: "restart: tasks go on, and the same service works again", needs: needsRestart, run: func(e *env) {
		id := e.startReady()
		pid := e.process(id, "").GetPid()
		e.Restart(e.T)
		var list []containerd.TaskInfo
		e.within(afterRestart, "the first call", func() { list = e.listTasks(nil) })
		if len(list) != 1 || list[0].ContainerID != id || list[0].PID != pid {
			e.Errorf("listed %+v, want %s with pid %d", list, id, pid)
		}
		e.wantTrue(id, "true", containerd.ExecTaskRequest{})
		e.ok(e.Service.StopTask(e.ctx, id, nil))
		e.wantStatus(id, "STOPPED")
		_, err := e.Service.StartTask(e.ctx, id, nil)
		e.ok(err)
		e.ok(e.Service.DeleteTask(e.ctx, id, forced))
		e.noTask(id)
	}},
	{name: "restart: StopTask does not take the lost connection for an exit", needs: needsRestart, run: func(e *env) {
		id := e.start("sleep", "300")
		done := async(func() error {
			return e.Service.StopTask(e.ctx, id, &containerd.StopTaskOptions{Signal: ignored, Timeout: -1})
		})
		e.settle(id)
		e.Restart(e.T)
		e.back()
		e.settle(id)
		mistake := time.NewTimer(promptly / 3) // what takes the loss for an exit returns
		defer mistake.Stop()
		select {
		case err := <-done:
			e.lost(err)
		case <-mistake.C:
			e.killPlain(id)
			e.oneOf(received(e, done), errdefs.IsUnavailable)
		}
	}},
	{name: "restart: StopTask with Force still ends the task", needs: needsRestart, run: func(e *env) {
		id := e.start("sleep", "300")
		timeout := e.ample(id, time.Second)
		done := async(func() error {
			return e.Service.StopTask(e.ctx, id, &containerd.StopTaskOptions{Signal: ignored, Timeout: timeout, Force: true})
		})
		e.settle(id)
		e.Restart(e.T)
		if err := received(e, done); err != nil {
			e.lost(err)
			return
		}
		e.wantStatus(id, "STOPPED")
	}},
	{name: "restart: ExecTask does not take the lost connection for an exit", needs: needsRestart, run: func(e *env) {
		id := e.start()
		started := e.execEvents()
		var result containerd.ExecTaskResult
		done := async(func() (err error) {
			result, err = e.Service.ExecTask(e.ctx, id, containerd.ExecTaskRequest{
				Args: []string{"sh", "-c", "while [ ! -e /go ]; do sleep 0.05; done; exit 7"},
			})
			return err
		})
		received(e, started)
		e.settle(id) // the answer to the start is not what is lost
		e.Restart(e.T)
		e.back()
		e.sh(id, "echo > /go")
		if err := received(e, done); err != nil {
			e.lost(err)
		} else if result.ExitCode != yes {
			e.Errorf("exit code %d, want %d", result.ExitCode, yes)
		}
	}},
	{name: "restart: ExecTask still kills the process when its context ends", needs: needsRestart, run: func(e *env) {
		id := e.start()
		started := e.execEvents()
		ctx, cancel := context.WithCancel(e.ctx)
		defer cancel()
		done := async(func() error {
			_, err := e.Service.ExecTask(ctx, id, containerd.ExecTaskRequest{Args: []string{"sleep", "300"}})
			return err
		})
		execID := received(e, started).GetExecID()
		e.Restart(e.T)
		cancel()
		err := received(e, done)
		if !isContextEnd(err) {
			e.lost(err)
			return
		}
		e.back()
		if strings.Contains(err.Error(), execID) { // the daemon was still away: it is killed later
			_, err := e.Client.TaskService().Wait(e.raw, &tasks.WaitRequest{ContainerID: id, ExecID: execID})
			e.oneOf(native(err), errdefs.IsNotFound)
		}
		e.onlyInit(id)
	}},
	{name: "restart: reads meanwhile tell the truth or that the daemon is away", needs: needsRestart, run: readsDuringRestart},
	{name: "restart: a forced deletion meanwhile deletes the task or says that the daemon is away", needs: needsRestart, run: func(e *env) {
		id := e.start("sleep", "300")
		done := async(func() error { return e.Service.DeleteTask(e.ctx, id, forced) })
		e.Restart(e.T)
		if err := received(e, done); err != nil {
			e.lost(err)
			e.back()
			e.oneOf(e.Service.DeleteTask(e.ctx, id, forced), errdefs.IsNotFound)
		}
		e.noTask(id)
	}},
	{name: "restart: a start meanwhile gives a running task or says that the daemon is away", needs: needsRestart, run: func(e *env) {
		id := e.create("sleep", "300")
		done := async(func() error {
			_, err := e.Service.StartTask(e.ctx, id, nil)
			return err
		})
		e.Restart(e.T)
		if err := received(e, done); err != nil {
			e.lost(err)
			_, err = e.Service.StartTask(e.ctx, id, nil)
			e.ok(err)
		}
		e.wantStatus(id, "RUNNING")
	}},
	{name: "restart: a task's handle works again", needs: needsRestart, run: func(e *env) {
		id := e.create("sleep", "300")
		task, err := e.Service.StartTask(e.ctx, id, nil)
		e.ok(err)
		e.Restart(e.T)
		e.back()
		exited, err := task.Wait(context.Background())
		e.ok(err)
		e.ok(task.Kill(context.Background(), syscall.SIGKILL))
		e.wantExitOf(exited, 137)
	}},
}

// back returns when the daemon answers the service and the plain client again,
// for cases that are not about the first calls.
func (e *env) back() {
	e.Helper()
	for _, ask := range []func() error{
		func() error { return fails(e.Service.ListTasks(e.ctx, nil)) },
		func() error { return native(fails(e.Client.Version(e.raw))) },
	} {
		err := ask()
		for errdefs.IsUnavailable(err) {
			err = ask()
		}
		e.ok(err)
	}
}

// lost checks that a call that a restart has cut short says just that.
func (e *env) lost(err error) {
	e.Helper()
	if err == nil || !errdefs.IsUnavailable(err) {
		e.Errorf("got %v, want the exit or an unavailable error", err)
	}
}

// readsDuringRestart reads all the time while the daemon is killed and started.
func readsDuringRestart(e *env) {
	id := e.start()
	restarted := make(chan struct{})
	done := async(func() error {
		for {
			list, err := e.Service.ListTasks(e.ctx, nil)
			if err == nil && (len(list) != 1 || list[0].ContainerID != id) {
				return fmt.Errorf("listed %+v, want the task of %s", list, id)
			}
			_, getErr := e.Service.GetTask(e.ctx, id)
			for _, err := range []error{err, getErr} {
				if err != nil && !errdefs.IsUnavailable(err) {
					return err
				}
			}
			select {
			case <-restarted:
				return nil
			default:
			}
		}
	})
	e.Restart(e.T)
	e.back()
	close(restarted)
	e.ok(received(e, done))
}
