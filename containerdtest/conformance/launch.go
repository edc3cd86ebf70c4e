package conformance

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctrdkit/containerd"
)

// both is a shell line that writes to both streams.
const both = "echo to stdout; echo to stderr >&2"

// launchCases are the contract of TaskLauncher.
var launchCases = []testCase{
	{name: "LaunchTask: without an IO the task runs, and never blocks on its output", run: func(e *env) {
		id := e.create("sh", "-c", loud)
		r, err := e.launcher().LaunchTask(e.ctx, id, containerd.LaunchTaskRequest{})
		e.ok(err)
		e.want(r.PID == e.process(id, "").GetPid(), "the result's PID is %d, the daemon's %d", r.PID, e.process(id, "").GetPid())
		e.wantExit(id, yes)
	}},
	{name: "LaunchTask: FileIO keeps stdout and stderr apart, and appends", run: func(e *env) {
		id := e.create("sh", "-c", both)
		out, errs := e.file("out"), e.file("err")
		for range 2 {
			e.launch(id, containerd.LaunchTaskRequest{IO: containerd.FileIO{Stdout: out, Stderr: errs}})
			e.waitExit(id)
		}
		e.wantFile(out, strings.Repeat("to stdout\n", 2))
		e.wantFile(errs, strings.Repeat("to stderr\n", 2))
	}},
	{name: "LaunchTask: FileIO takes one file for both streams", run: func(e *env) {
		// The streams can mix between any two writes, and echo may write a line in pieces.
		id, out := e.create("sh", "-c", `printf 'to stdout\n'; printf 'to stderr\n' >&2`), e.file("out")
		e.launch(id, containerd.LaunchTaskRequest{IO: containerd.FileIO{Stdout: out, Stderr: out}})
		e.waitExit(id)
		e.ok(e.Service.DeleteTask(e.ctx, id, nil)) // has all been written
		lines := strings.Split(strings.TrimSpace(e.read(out)), "\n")
		slices.Sort(lines)
		e.want(slices.Equal(lines, []string{"to stderr", "to stdout"}), "the file has %q", lines)
	}},
	{name: "LaunchTask: FileIO discards the stream that has no file", run: func(e *env) {
		id, errs := e.create("sh", "-c", both), e.file("err")
		e.launch(id, containerd.LaunchTaskRequest{IO: containerd.FileIO{Stderr: errs}})
		e.waitExit(id)
		e.wantFile(errs, "to stderr\n")
	}},
	{name: "LaunchTask: StreamIO copies every byte, in both directions", run: func(e *env) {
		id := e.create("sh", "-c", "cat; echo to stderr >&2")
		text := strings.Repeat("0123456789\n", 100_000)
		var out, errs lockedBuffer
		e.launch(id, containerd.LaunchTaskRequest{IO: containerd.StreamIO{Stdin: strings.NewReader(text), Stdout: &out, Stderr: &errs}})
		e.waitExit(id)
		e.ok(e.Service.DeleteTask(e.ctx, id, nil)) // has all been delivered
		e.want(out.String() == text, "stdout is %s", shown(out.String()))
		e.want(errs.String() == "to stderr\n", "stderr is %q", errs.String())
	}},
	{name: "DeleteTask: a writer that is slow loses no output, and neither does a context that ends first", run: slowWriterLosesNothing(
		func(ctx context.Context, e *env, id string) error { return e.Service.DeleteTask(ctx, id, nil) })},
	{name: "DeleteContainer: a writer that is slow loses no output, and neither does a context that ends first", run: slowWriterLosesNothing(
		func(ctx context.Context, e *env, id string) error { return e.Service.DeleteContainer(ctx, id, nil) })},
	{name: "StartTask: a writer of the old task that is slow loses no output, and neither does a context that ends first", run: slowWriterLosesNothing(
		func(ctx context.Context, e *env, id string) error {
			_, err := e.Service.StartTask(ctx, id, nil)
			return err
		})},
	{name: "LaunchTask: StreamIO on a terminal has one output", run: func(e *env) {
		id := e.create("sh", "-c", "tty; "+both)
		var out lockedBuffer
		e.launch(id, containerd.LaunchTaskRequest{Terminal: true, IO: containerd.StreamIO{Stdout: &out}})
		e.waitExit(id)
		e.ok(e.Service.DeleteTask(e.ctx, id, nil))
		e.want(out.String() == "terminal\r\nto stdout\r\nto stderr\r\n", "got %q", out.String())
	}},
	{name: "LaunchTask: what can't work is an invalid argument, and nothing is done", run: func(e *env) {
		id := e.create()
		before := e.state()
		for field, req := range map[string]containerd.LaunchTaskRequest{
			"Stdout":   {IO: containerd.FileIO{Stdout: "relative"}},
			"Stderr":   {IO: containerd.FileIO{Stderr: "/a\x00b"}},
			"FileIO":   {IO: containerd.FileIO{Stdout: e.file("x")}, Terminal: true},
			"FIFODir":  {IO: containerd.StdIO{FIFODir: "relative"}},
			"Dir":      {IO: containerd.LogIO{Dir: "relative"}},
			"MaxSize":  {IO: containerd.LogIO{MaxSize: -1}},
			"MaxFiles": {IO: containerd.LogIO{MaxFiles: -1}},
			"Stdin":    {IO: containerd.LogIO{Stdin: true}},
			"missing":  {IO: containerd.FileIO{Stdout: e.file("missing/x")}},
		} {
			_, err := e.launcher().LaunchTask(e.ctx, id, req)
			e.invalid(err, id, field)
		}
		e.unchanged(before)
	}},
	{name: "LaunchTask: an unknown container is not found", run: func(e *env) {
		id := e.id()
		_, err := e.launcher().LaunchTask(e.ctx, id, containerd.LaunchTaskRequest{IO: e.logIO()})
		e.class(err, errdefs.IsNotFound, id)
	}},
	{name: "LaunchTask: a running task gives already-exists and runs on", run: func(e *env) {
		id := e.start()
		_, err := e.launcher().LaunchTask(e.ctx, id, containerd.LaunchTaskRequest{IO: containerd.FileIO{Stdout: e.file("out")}})
		e.class(err, errdefs.IsAlreadyExists, id)
		e.wantStatus(id, "RUNNING")
	}},
	{name: "LaunchTask: a missing executable is a not-found error, and nothing is left", run: func(e *env) {
		id := e.create("/no/such/program")
		for _, io := range []containerd.TaskIO{containerd.DiscardIO{}, containerd.FileIO{Stdout: e.file("out")}, e.logIO()} {
			_, err := e.launcher().LaunchTask(e.ctx, id, containerd.LaunchTaskRequest{IO: io})
			e.class(err, errdefs.IsNotFound, id)
			e.noTask(id)
		}
	}},
	{name: "RestartTask: a container without a task gets one", run: func(e *env) {
		id := e.create()
		_, err := e.launcher().RestartTask(e.ctx, id, containerd.RestartTaskRequest{})
		e.ok(err)
		e.wantStatus(id, "RUNNING")
	}},
	{name: "RestartTask: the new task is another one, of the same container", run: func(e *env) {
		id := e.startReady()
		pid := e.process(id, "").GetPid()
		r, err := e.launcher().RestartTask(e.ctx, id, containerd.RestartTaskRequest{})
		e.ok(err)
		e.want(r.PID != pid && r.PID == e.process(id, "").GetPid(), "PID %d became %d", pid, r.PID)
		e.wantStatus(id, "RUNNING")
	}},
	{name: "RestartTask: files stay the task's files", run: func(e *env) {
		id, out := e.create("sh", "-c", both+"; sleep 300"), e.file("out")
		e.launch(id, containerd.LaunchTaskRequest{IO: containerd.FileIO{Stdout: out}})
		e.wantFile(out, "to stdout\n")
		e.restart(id)
		e.wantFile(out, strings.Repeat("to stdout\n", 2))
	}},
	{name: "RestartTask: a log goes on", run: func(e *env) {
		id := e.create("sh", "-c", both+"; sleep 300")
		e.launch(id, containerd.LaunchTaskRequest{IO: e.logIO()})
		e.untilLogged(id, "stderr", 1)
		e.restart(id)
		e.untilLogged(id, "stderr", 2)
		e.killPlain(id)
		e.restart(id) // the task has stopped
		e.untilLogged(id, "stderr", 3)
		e.wantLog(id, strings.Repeat("to stdout\n", 3), strings.Repeat("to stderr\n", 3))
	}},
	{name: "RestartTask: a log goes on when the old task was deleted", run: func(e *env) {
		id := e.create("sh", "-c", both)
		e.launch(id, containerd.LaunchTaskRequest{IO: e.logIO()})
		e.waitExit(id)
		e.ok(e.Service.DeleteTask(e.ctx, id, nil))
		e.restart(id)
		e.waitExit(id)
		e.wantLog(id, "to stdout\nto stdout\n", "to stderr\nto stderr\n")
	}},
	{name: "RestartTask: the caller's streams go on", run: func(e *env) {
		id := e.create("sh", "-c", both+"; sleep 300")
		var out lockedBuffer
		e.launch(id, containerd.LaunchTaskRequest{IO: containerd.StreamIO{Stdout: &out}})
		e.until(func() bool { return out.String() == "to stdout\n" })
		e.restart(id)
		e.until(func() bool { return out.String() == "to stdout\nto stdout\n" })
	}},
	{name: "RestartTask: an IO that is named replaces the old one", run: func(e *env) {
		id := e.create("sh", "-c", both)
		e.launch(id, containerd.LaunchTaskRequest{})
		_, err := e.launcher().RestartTask(e.ctx, id, containerd.RestartTaskRequest{IO: e.logIO(), Force: true, Timeout: shortly})
		e.ok(err)
		e.waitExit(id)
		e.wantLog(id, "to stdout\n", "to stderr\n")
	}},
	{name: "RestartTask: a terminal stays a terminal", run: func(e *env) {
		id := e.create("sh", "-c", "tty; sleep 300")
		e.launch(id, containerd.LaunchTaskRequest{Terminal: true, IO: e.logIO()})
		e.untilLogged(id, "stdout", 1)
		e.restart(id)
		e.untilLogged(id, "stdout", 2)
		e.wantLog(id, "terminal\r\nterminal\r\n", "")
	}},
	{name: "RestartTask: a task that ignores its signal runs on without Force", run: func(e *env) {
		id := e.startImage(e.imageVariant(func(c *ocispec.ImageConfig) { c.StopSignal = "SIGWINCH" }))
		pid := e.process(id, "").GetPid()
		_, err := e.launcher().RestartTask(e.ctx, id, containerd.RestartTaskRequest{Timeout: shortly})
		e.class(err, errdefs.IsDeadlineExceeded, id)
		e.want(e.process(id, "").GetPid() == pid, "the task was replaced")
		e.wantStatus(id, "RUNNING")
	}},
	{name: "RestartTask: an unknown container is not found", run: func(e *env) {
		id := e.id()
		_, err := e.launcher().RestartTask(e.ctx, id, containerd.RestartTaskRequest{})
		e.class(err, errdefs.IsNotFound, id)
	}},
}

// slowWriterLosesNothing is a case in which remove takes away a stopped task
// whose output was not written yet.
func slowWriterLosesNothing(remove func(ctx context.Context, e *env, id string) error) func(*env) {
	return func(e *env) {
		const size, rest = 300_000, 50_000 // the rest is less than a FIFO holds
		id := e.create("sh", "-c", "head -c 300000 /dev/zero")
		r, w := io.Pipe()
		context.AfterFunc(e.ctx, func() { r.CloseWithError(e.ctx.Err()) }) // at the end of the case, however it ends
		e.launch(id, containerd.LaunchTaskRequest{IO: containerd.StreamIO{Stdout: w}})
		got := make([]byte, size)
		_, err := io.ReadFull(r, got[:size-rest])
		e.ok(err)
		e.waitExit(id)
		pid := e.process(id, "").GetPid()
		ctx, cancel := context.WithTimeout(e.ctx, shortly)
		defer cancel()
		e.class(remove(ctx, e, id), isContextEnd, id)
		e.record(id) // is there: nothing is half removed
		e.wantStatus(id, "STOPPED")
		removed := async(func() error { return errors.Join(remove(e.ctx, e, id), w.Close()) })
		_, err = io.ReadFull(r, got[size-rest:])
		e.ok(err)
		e.ok(received(e, removed))
		e.want(e.process(id, "").GetPid() != pid, "the task is still there")
	}
}

// launcher returns the role, or skips the case.
func (e *env) launcher() containerd.TaskLauncher {
	e.Helper()
	role, ok := e.Service.(containerd.TaskLauncher)
	if !ok {
		e.Skip("the service has no TaskLauncher")
	}
	return role
}

func (e *env) launch(id string, req containerd.LaunchTaskRequest) {
	e.Helper()
	_, err := e.launcher().LaunchTask(e.ctx, id, req)
	e.ok(err)
}

// restart restarts a task that ignores its signal.
func (e *env) restart(id string) {
	e.Helper()
	_, err := e.launcher().RestartTask(e.ctx, id, containerd.RestartTaskRequest{Force: true, Timeout: 50 * time.Millisecond})
	e.ok(err)
}

// logIO returns an IO with a log of the case's own.
func (e *env) logIO() containerd.LogIO {
	e.Helper()
	e.need(Logging)
	return containerd.LogIO{Dir: e.file("log")}
}

// file returns a path in the case's directory.
func (e *env) file(name string) string {
	e.Helper()
	if e.dir == "" {
		e.dir = e.TempDir()
	}
	return filepath.Join(e.dir, name)
}

func (e *env) read(name string) string {
	e.Helper()
	text, err := os.ReadFile(name)
	e.ok(err)
	return string(text)
}

// wantFile checks a file that a task's shim has written.
func (e *env) wantFile(name, want string) {
	e.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var got string
	for end := time.Now().Add(promptly); ; <-tick.C { // the shim copies what the ended process has left
		if got = e.read(name); got == want {
			return
		}
		if time.Now().After(end) {
			e.Errorf("%s has %q, want %q", filepath.Base(name), got, want)
			return
		}
	}
}
