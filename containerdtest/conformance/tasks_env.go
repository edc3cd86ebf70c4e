package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"

	"github.com/ctrdkit/containerd"
)

const (
	// promptly is how long a call may take whose context has ended: a second, and
	// what a busy machine adds.
	promptly = time.Second + 500*time.Millisecond
	// yes is the exit code of a condition that holds: no failure looks like it.
	yes = 7
)

// process returns the task's process, or one of its execs, as the daemon gives
// it; nil without one.
func (e *env) process(id, execID string) *tasktypes.Process {
	e.Helper()
	r, err := e.Client.TaskService().Get(e.raw, &tasks.GetRequest{ContainerID: id, ExecID: execID})
	if errdefs.IsNotFound(native(err)) {
		return nil
	}
	e.ok(err)
	return r.GetProcess()
}

// wantStatus checks the task's status; "" means that there is no task.
func (e *env) wantStatus(id, want string) {
	e.Helper()
	if got := e.status(id); got != want {
		e.Errorf("task of %s is %q, want %q", id, got, want)
	}
}

// wantExit waits for the task to stop, and checks its exit code.
func (e *env) wantExit(id string, want uint32) {
	e.Helper()
	r, err := e.Client.TaskService().Wait(e.raw, &tasks.WaitRequest{ContainerID: id})
	e.ok(err)
	if r.GetExitStatus() != want {
		e.Errorf("task of %s exited with %d, want %d", id, r.GetExitStatus(), want)
	}
}

// plainTask loads the task with the plain client.
func (e *env) plainTask(id string) client.Task {
	e.Helper()
	c, err := e.Client.LoadContainer(e.raw, id)
	e.ok(err)
	task, err := c.Task(e.raw, cio.Load)
	e.ok(err)
	return task
}

// created makes a container with a task that was never started.
func (e *env) created(args ...string) string {
	e.Helper()
	id := e.create(args...)
	c, err := e.Client.LoadContainer(e.raw, id)
	e.ok(err)
	_, err = c.NewTask(e.raw, cio.NullIO)
	e.ok(err)
	e.wantStatus(id, "CREATED")
	return id
}

// stopped makes a container with a task that exited with code.
func (e *env) stopped(code string) string {
	e.Helper()
	id := e.start("sh", "-c", "exit "+code)
	e.waitExit(id)
	return id
}

// paused makes a container with a paused task.
func (e *env) paused(args ...string) string {
	e.Helper()
	e.need(Pausing)
	id := e.start(args...)
	e.pause(id)
	return id
}

// pause pauses the task with the plain client.
func (e *env) pause(id string) {
	e.Helper()
	e.need(Pausing)
	e.ok(e.plainTask(id).Pause(e.raw))
	e.wantStatus(id, "PAUSED")
}

// killPlain kills the task with the plain client and waits until it has stopped.
func (e *env) killPlain(id string) {
	e.Helper()
	_, err := e.Client.TaskService().Kill(e.raw, &tasks.KillRequest{ContainerID: id, Signal: 9, All: true})
	e.ok(err)
	e.waitExit(id)
}

// record returns the container's record as the daemon has it.
func (e *env) record(id string) containers.Container {
	e.Helper()
	record, err := e.Client.ContainerService().Get(e.raw, id)
	e.ok(err)
	return record
}

// spec decodes the record's spec.
func (e *env) spec(record containers.Container) *oci.Spec {
	e.Helper()
	var spec oci.Spec
	e.ok(json.Unmarshal(record.Spec.GetValue(), &spec))
	return &spec
}

// setArgs changes what a container will run, with the plain client.
func (e *env) setArgs(id string, args ...string) {
	e.Helper()
	record := e.record(id)
	spec := e.spec(record)
	spec.Process.Args = args
	value, err := typeurl.MarshalAny(spec)
	e.ok(err)
	record.Spec = value
	_, err = e.Client.ContainerService().Update(e.raw, record, "spec")
	e.ok(err)
}

// wantSpec checks that the stored spec is the one of before, byte for byte.
func (e *env) wantSpec(id string, before containers.Container) {
	e.Helper()
	if after := e.record(id); !bytes.Equal(after.Spec.GetValue(), before.Spec.GetValue()) {
		e.Errorf("the stored spec was changed from\n%s\nto\n%s", before.Spec.GetValue(), after.Spec.GetValue())
	}
}

// exec runs a request that must succeed and returns its exit code.
func (e *env) exec(id string, req containerd.ExecTaskRequest) uint32 {
	e.Helper()
	result, err := e.Service.ExecTask(e.ctx, id, req)
	e.ok(err)
	return result.ExitCode
}

// wantTrue runs a shell condition in the task, as req says, and checks that it holds.
func (e *env) wantTrue(id, condition string, req containerd.ExecTaskRequest) {
	e.Helper()
	req.Args = []string{"sh", "-c", "if " + condition + "; then exit 7; fi; exit 8"}
	if code := e.exec(id, req); code != yes {
		e.Errorf("%s: does not hold in the container (exit code %d)", condition, code)
	}
}

// within checks that call returns within limit.
func (e *env) within(limit time.Duration, what string, call func()) {
	e.Helper()
	began := time.Now()
	call()
	if took := time.Since(began); took > limit {
		e.Errorf("%s took %v, want at most %v", what, took, limit)
	}
}

// oneOf checks that err is nil or of one of the classes.
func (e *env) oneOf(err error, classes ...func(error) bool) {
	e.Helper()
	if err == nil || slices.ContainsFunc(classes, func(is func(error) bool) bool { return is(err) }) {
		return
	}
	e.Errorf("error is of another class: %v", err)
}

func isContextEnd(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// concurrently runs call n times at once and returns the errors.
func concurrently(n int, call func(i int) error) []error {
	errs := make([]error, n)
	begin, done := make(chan struct{}), make(chan struct{})
	for i := range n {
		go func() {
			defer func() { done <- struct{}{} }()
			<-begin
			errs[i] = call(i)
		}()
	}
	close(begin)
	for range n {
		<-done
	}
	return errs
}

// async runs call and delivers its error.
func async(call func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- call() }()
	return done
}

// received returns what comes from a channel, or ends the case when its time is up.
func received[T any](e *env, from <-chan T) T {
	e.Helper()
	select {
	case v := <-from:
		return v
	case <-e.ctx.Done():
		e.Fatalf("no %v came", reflect.TypeFor[T]())
		panic("unreachable")
	}
}

// stillWaits checks that a call has not returned yet.
func (e *env) stillWaits(done <-chan error) {
	e.Helper()
	select {
	case err := <-done:
		e.Fatalf("the call has returned already: %v", err)
	default:
	}
}

// loud is a shell line that writes more than 1 MiB to each of stdout and
// stderr, and then exits with 7.
var loud = `s=0123456789abcdef; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do s=$s$s; done; ` +
	`for i in ` + strings.Repeat("x ", 20) + `; do echo $s; echo $s >&2; done; exit 7`

// startReady makes a container that runs the image's command, and starts its
// task. It returns when SIGTERM ends the program: a first process has no
// default action, so that a signal it does not handle yet is lost.
func (e *env) startReady() string {
	e.Helper()
	id := e.create()
	_, err := e.Service.StartTask(e.ctx, id, nil)
	e.ok(err)
	e.ready(id)
	return id
}

// ready waits until the task's first process handles signals, where the
// container can tell.
func (e *env) ready(id string) {
	e.Helper()
	e.wantTrue(id, `[ ! -e /proc/1/status ] || `+
		`until while read key mask; do case $key in SigCgt:) echo $mask;; esac; done </proc/1/status | `+
		`{ read mask; case $mask in *[!0]*) true;; *) false;; esac; }; do sleep 0.01; done`, containerd.ExecTaskRequest{})
}
