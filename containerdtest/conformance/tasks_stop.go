package conformance

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctrdkit/containerd"
)

// ignored is a signal that ends no program that does not ask for it.
const ignored = syscall.SIGWINCH

// kill ends every program, whether it is ready for signals or not.
var kill = &containerd.StopTaskOptions{Signal: syscall.SIGKILL}

// shortly is a timeout that is sure to pass.
const shortly = 100 * time.Millisecond

var stopCases = []testCase{
	{name: "StopTask: nil options end a program that ends at SIGTERM, and nil means that it is gone", run: func(e *env) {
		id := e.startReady()
		e.ok(e.Service.StopTask(e.ctx, id, nil))
		e.wantStatus(id, "STOPPED")
	}},
	{name: "StopTask: zero options are the same as nil", run: func(e *env) {
		id := e.startReady()
		e.ok(e.Service.StopTask(e.ctx, id, &containerd.StopTaskOptions{}))
		e.wantStatus(id, "STOPPED")
	}},
	{name: "StopTask: the default signal is SIGTERM and not SIGKILL", run: func(e *env) {
		id := e.startReady()
		e.ok(e.Service.StopTask(e.ctx, id, &containerd.StopTaskOptions{Timeout: time.Minute}))
		if code := e.process(id, "").GetExitStatus(); code == 137 {
			e.Error("the task was killed")
		}
	}},
	{name: "StopTask: the given signal is sent", run: func(e *env) {
		id := e.start("sleep", "300")
		e.ok(e.Service.StopTask(e.ctx, id, &containerd.StopTaskOptions{Signal: syscall.SIGKILL, Timeout: time.Minute}))
		e.wantExit(id, 137)
	}},
	{name: "StopTask: without a given signal it is the image's", run: func(e *env) {
		id := e.startImage(e.imageVariant(func(c *ocispec.ImageConfig) { c.StopSignal = "SIGKILL" }))
		e.ok(e.Service.StopTask(e.ctx, id, nil))
		e.wantExit(id, 137)
	}},
	{name: "StopTask: the image's signal can be a number", run: func(e *env) {
		id := e.startImage(e.imageVariant(func(c *ocispec.ImageConfig) { c.StopSignal = "9" }))
		e.ok(e.Service.StopTask(e.ctx, id, nil))
		e.wantExit(id, 137)
	}},
	{name: "StopTask: the image's signal is SIGTERM when the image names none that exists", run: func(e *env) {
		id := e.startImage(e.imageVariant(func(c *ocispec.ImageConfig) { c.StopSignal = "SIGNONSENSE" }))
		e.ready(id)
		e.ok(e.Service.StopTask(e.ctx, id, &containerd.StopTaskOptions{Timeout: time.Minute}))
		if code := e.process(id, "").GetExitStatus(); code == 137 {
			e.Error("the task was killed")
		}
	}},
	{name: "StopTask: the given signal wins over the image's", run: func(e *env) {
		id := e.startImage(e.imageVariant(func(c *ocispec.ImageConfig) { c.StopSignal = "SIGKILL" }))
		err := e.Service.StopTask(e.ctx, id, &containerd.StopTaskOptions{Signal: ignored, Timeout: shortly})
		e.stopTimeout(err, id)
		e.wantStatus(id, "RUNNING")
	}},
	{name: "StopTask: a signal below 1 is an invalid argument, and none is sent", run: func(e *env) {
		id := e.start()
		e.invalid(e.Service.StopTask(e.ctx, id, &containerd.StopTaskOptions{Signal: -1}), id, "Signal")
		e.wantStatus(id, "RUNNING")
	}},
	{name: "StopTask: a signal above 64 is an invalid argument, and none is sent", run: func(e *env) {
		id := e.start()
		e.invalid(e.Service.StopTask(e.ctx, id, &containerd.StopTaskOptions{Signal: 65, Force: true}), id, "Signal")
		e.wantStatus(id, "RUNNING")
	}},
	{name: "StopTask: signal 64 is a signal", run: func(e *env) {
		id := e.start("sleep", "300")
		e.ok(e.Service.StopTask(e.ctx, id, &containerd.StopTaskOptions{Signal: 64, Timeout: shortly, Force: true}))
		e.wantStatus(id, "STOPPED")
	}},
	{name: "StopTask: an unknown container is not found", run: func(e *env) {
		id := e.id()
		e.class(e.Service.StopTask(e.ctx, id, nil), errdefs.IsNotFound, id)
	}},
	{name: "StopTask: an ID that containerd would refuse is an invalid argument", run: func(e *env) {
		e.invalid(e.Service.StopTask(e.ctx, "a/b", nil), "a/b", "containerID")
	}},
	{name: "StopTask: a container without a task is stopped", run: func(e *env) {
		id := e.create()
		e.ok(e.Service.StopTask(e.ctx, id, nil))
		e.wantStatus(id, "")
	}},
	{name: "StopTask: a stopped task is stopped, and keeps its exit code", run: func(e *env) {
		id := e.stopped("42")
		e.ok(e.Service.StopTask(e.ctx, id, nil))
		e.ok(e.Service.StopTask(e.ctx, id, &containerd.StopTaskOptions{Force: true, Timeout: shortly}))
		e.wantStatus(id, "STOPPED")
		e.wantExit(id, 42)
	}},
	{name: "StopTask: stopping twice is fine", run: func(e *env) {
		id := e.startReady()
		e.ok(e.Service.StopTask(e.ctx, id, nil))
		e.ok(e.Service.StopTask(e.ctx, id, nil))
		e.wantStatus(id, "STOPPED")
	}},
	{name: "StopTask: a created task that never started is killed and awaited", run: func(e *env) {
		id := e.created()
		e.ok(e.Service.StopTask(e.ctx, id, nil))
		if status := e.status(id); status != "STOPPED" && status != "" {
			e.Errorf("the task is %s", status)
		}
	}},
	{name: "StopTask: a created task is killed whatever signal is given", run: func(e *env) {
		id := e.created()
		e.ok(e.Service.StopTask(e.ctx, id, &containerd.StopTaskOptions{Signal: ignored, Timeout: time.Minute}))
		if status := e.status(id); status != "STOPPED" && status != "" {
			e.Errorf("the task is %s", status)
		}
	}},
	{name: "StopTask: a paused task is resumed so that it can stop", run: func(e *env) {
		id := e.startReady()
		e.pause(id)
		e.ok(e.Service.StopTask(e.ctx, id, &containerd.StopTaskOptions{Timeout: time.Minute}))
		e.wantStatus(id, "STOPPED")
		if code := e.process(id, "").GetExitStatus(); code == 137 {
			e.Error("the task was killed")
		}
	}},
	{name: "StopTask: a paused task that ignores the signal is killed with Force", run: func(e *env) {
		id := e.paused("sleep", "300")
		e.ok(e.Service.StopTask(e.ctx, id, &containerd.StopTaskOptions{Signal: ignored, Timeout: shortly, Force: true}))
		e.wantExit(id, 137)
	}},
	{name: "StopTask: concurrent stops of one task all succeed", run: func(e *env) {
		id := e.startReady()
		for _, err := range concurrently(32, func(int) error { return e.Service.StopTask(e.ctx, id, nil) }) {
			e.ok(err)
		}
		e.wantStatus(id, "STOPPED")
	}},
	{name: "StopTask: concurrent stops and starts of one task leave it in a state that both accept", run: stopAndStart},
	{name: "StopTask: a task that another program started is stopped", run: func(e *env) {
		id := e.created()
		e.ok(e.plainTask(id).Start(e.raw))
		e.ready(id)
		e.ok(e.Service.StopTask(e.ctx, id, nil))
		e.wantStatus(id, "STOPPED")
	}},
	{name: "StopTask: the container and its files stay", run: func(e *env) {
		id := e.startReady()
		e.sh(id, "echo kept > /kept")
		e.ok(e.Service.StopTask(e.ctx, id, nil))
		_, err := e.Service.StartTask(e.ctx, id, nil)
		e.ok(err)
		e.wantTrue(id, `[ "$(cat /kept)" = kept ]`, containerd.ExecTaskRequest{})
	}},
}

func stopAndStart(e *env) {
	id := e.start()
	for i, err := range concurrently(32, func(i int) error {
		if i%2 == 0 {
			return e.Service.StopTask(e.ctx, id, kill)
		}
		_, err := e.Service.StartTask(e.ctx, id, nil)
		return err
	}) {
		if i%2 == 0 {
			e.ok(err)
			continue
		}
		e.oneOf(err, errdefs.IsAlreadyExists)
	}
	e.ok(e.Service.StopTask(e.ctx, id, kill))
	e.wantStatus(id, "STOPPED")
	_, err := e.Service.StartTask(e.ctx, id, nil)
	e.ok(err)
	e.wantStatus(id, "RUNNING")
}

// stopTimeout checks that err is ErrTaskStopTimeout in every way a caller may ask.
func (e *env) stopTimeout(err error, id string) {
	e.Helper()
	e.class(err, errdefs.IsDeadlineExceeded, id)
	if !errors.Is(err, containerd.ErrTaskStopTimeout) {
		e.Errorf("error is not ErrTaskStopTimeout: %v", err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		e.Errorf("error says that the caller's context ended: %v", err)
	}
}

// startImage makes a container of an image and starts its task.
func (e *env) startImage(ref string) string {
	e.Helper()
	id := e.createWith(containerd.CreateContainerRequest{ImageRef: ref})
	_, err := e.Service.StartTask(e.ctx, id, nil)
	e.ok(err)
	return id
}
