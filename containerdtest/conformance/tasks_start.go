package conformance

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

var startCases = []testCase{
	{name: "StartTask: nil options start the task, and the handle names it", run: func(e *env) {
		id := e.create()
		task, err := e.Service.StartTask(e.ctx, id, nil)
		e.ok(err)
		e.wantStatus(id, "RUNNING")
		if want := e.process(id, "").GetPid(); task.Pid() != want || task.Pid() == 0 {
			e.Errorf("the handle has pid %d, the daemon %d", task.Pid(), want)
		}
		if task.ID() != id {
			e.Errorf("the handle has ID %q, want %q", task.ID(), id)
		}
	}},
	{name: "StartTask: zero options are the same as nil", run: func(e *env) {
		byNil, byZero := e.start(), e.create()
		_, err := e.Service.StartTask(e.ctx, byZero, &containerd.StartTaskOptions{})
		e.ok(err)
		a, b := e.process(byNil, ""), e.process(byZero, "")
		if a.GetStdin() != "" || b.GetStdin() != "" || a.GetTerminal() || b.GetTerminal() {
			e.Errorf("the streams differ:\n%v\n%v", a, b)
		}
		e.wantStatus(byZero, "RUNNING")
	}},
	{name: "StartTask: the output is discarded, and the container never blocks on it", run: func(e *env) {
		e.wantExit(e.start("sh", "-c", loud), yes)
	}},
	{name: "StartTask: a program whose output is discarded can write it", run: func(e *env) {
		e.wantExit(e.start("sh", "-c", "echo out && echo err >&2 && cat /bin/sh && exit 7"), yes)
	}},
	{name: "StartTask: without stdio the input is at its end", run: func(e *env) {
		e.wantExit(e.start("sh", "-c", "cat; exit 7"), yes)
	}},
	{name: "StartTask: the exit code is the program's", run: func(e *env) {
		e.wantExit(e.start("sh", "-c", "exit 42"), 42)
	}},
	{name: "StartTask: a program that ends at once has been started, and stays as a stopped task", run: func(e *env) {
		id := e.start("true")
		e.wantExit(id, 0)
		e.wantStatus(id, "STOPPED")
	}},
	{name: "StartTask: the call acts in the service's namespace, whatever the context carries", run: func(e *env) {
		id := e.create()
		_, err := e.Service.StartTask(namespaces.WithNamespace(e.ctx, "conformance-elsewhere"), id, nil)
		e.ok(err)
		e.wantStatus(id, "RUNNING")
	}},
	{name: "StartTask: the task outlives the context of the call", run: func(e *env) {
		id := e.create()
		ctx, cancel := context.WithCancel(e.ctx)
		_, err := e.Service.StartTask(ctx, id, nil)
		e.ok(err)
		cancel()
		e.wantTrue(id, "true", containerd.ExecTaskRequest{})
		e.wantStatus(id, "RUNNING")
	}},
	{name: "StartTask: a stopped old task is replaced", run: func(e *env) {
		id := e.stopped("3")
		e.setArgs(id, "sleep", "300")
		before := e.process(id, "").GetPid()
		_, err := e.Service.StartTask(e.ctx, id, nil)
		e.ok(err)
		e.wantStatus(id, "RUNNING")
		if e.process(id, "").GetPid() == before {
			e.Error("the task is still the old one")
		}
	}},
	{name: "StartTask: a task that StopTask has stopped is replaced", run: func(e *env) {
		id := e.start()
		e.ok(e.Service.StopTask(e.ctx, id, kill))
		_, err := e.Service.StartTask(e.ctx, id, nil)
		e.ok(err)
		e.wantStatus(id, "RUNNING")
	}},
	{name: "StartTask: a running task gives already-exists and is not touched", run: func(e *env) {
		id := e.start()
		before := e.process(id, "").GetPid()
		_, err := e.Service.StartTask(e.ctx, id, nil)
		e.class(err, errdefs.IsAlreadyExists, id)
		e.wantStatus(id, "RUNNING")
		if e.process(id, "").GetPid() != before {
			e.Error("the running task was replaced")
		}
	}},
	{name: "StartTask: a paused task gives already-exists and stays paused", run: func(e *env) {
		id := e.paused()
		_, err := e.Service.StartTask(e.ctx, id, nil)
		e.class(err, errdefs.IsAlreadyExists, id)
		e.wantStatus(id, "PAUSED")
	}},
	{name: "StartTask: another program's created task gives already-exists and stays created", run: func(e *env) {
		id := e.created()
		before := e.process(id, "").GetPid()
		_, err := e.Service.StartTask(e.ctx, id, nil)
		e.class(err, errdefs.IsAlreadyExists, id)
		e.wantStatus(id, "CREATED")
		if e.process(id, "").GetPid() != before {
			e.Error("the created task was replaced")
		}
	}},
	{name: "StartTask: an unknown container is not found", run: func(e *env) {
		id := e.id()
		_, err := e.Service.StartTask(e.ctx, id, nil)
		e.class(err, errdefs.IsNotFound, id)
	}},
	{name: "StartTask: an ID that containerd would refuse is an invalid argument", run: func(e *env) {
		_, err := e.Service.StartTask(e.ctx, "a b", nil)
		e.invalid(err, "a b", "containerID")
	}},
	{name: "StartTask: of concurrent starts of one container exactly one succeeds", run: startOnce},
	{name: "StartTask: different containers start at once", run: func(e *env) {
		ids := []string{e.create(), e.create(), e.create(), e.create()}
		for _, err := range concurrently(len(ids), func(i int) error {
			_, err := e.Service.StartTask(e.ctx, ids[i], nil)
			return err
		}) {
			e.ok(err)
		}
		for _, id := range ids {
			e.wantStatus(id, "RUNNING")
		}
	}},
	{name: "StartTask: FIFODir is ignored when no FIFO is needed", run: func(e *env) {
		dir := filepath.Join(e.TempDir(), "absent")
		for _, opts := range []containerd.StartTaskOptions{
			{FIFODir: dir},
			{FIFODir: dir, Terminal: true},
			{FIFODir: "relative"},
		} {
			_, err := e.Service.StartTask(e.ctx, e.create(), &opts)
			e.ok(err)
		}
		if entries := dirNames(e.T, filepath.Dir(dir)); len(entries) > 0 {
			e.Errorf("FIFODir was made: %v", entries)
		}
	}},
	{name: "StartTask: a relative FIFODir is an invalid argument when FIFOs are needed", run: func(e *env) {
		id := e.create()
		_, err := e.Service.StartTask(e.ctx, id, &containerd.StartTaskOptions{UseStdio: true, FIFODir: "relative"})
		e.invalid(err, id, "FIFODir")
		e.wantStatus(id, "")
	}},
	{name: "StartTask: a FIFODir with NUL is an invalid argument", run: func(e *env) {
		id := e.create()
		_, err := e.Service.StartTask(e.ctx, id, &containerd.StartTaskOptions{UseStdio: true, FIFODir: "/tmp/\x00"})
		e.invalid(err, id, "FIFODir")
		e.wantStatus(id, "")
	}},
}

func startOnce(e *env) {
	id := e.create()
	won := 0
	for _, err := range concurrently(32, func(int) error {
		_, err := e.Service.StartTask(e.ctx, id, nil)
		return err
	}) {
		if err == nil {
			won++
			continue
		}
		e.class(err, errdefs.IsAlreadyExists, id)
	}
	if won != 1 {
		e.Errorf("%d starts succeeded, want 1", won)
	}
	e.wantStatus(id, "RUNNING")
}

// dirNames returns what is in a directory; none if it is absent.
func dirNames(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}
