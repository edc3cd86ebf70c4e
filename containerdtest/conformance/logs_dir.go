package conformance

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

// logDirCases are the contract of who has which log.
var logDirCases = []testCase{
	{name: "CreateContainer: the library's own labels are refused", run: func(e *env) {
		id := e.id()
		_, err := e.Service.CreateContainer(e.ctx, containerd.CreateContainerRequest{
			ID: id, ImageRef: e.Image, Labels: map[string]string{"ctrdkit.io/log-dir": e.TempDir()},
		})
		e.invalid(err, id, "Labels")
	}},
	{name: "LaunchTask: a log's directory is one container's, and another's stays as it is", run: func(e *env) {
		io := e.logIO()
		first := e.logged("sh", "-c", both)
		e.waitExit(first)
		second := e.create("sh", "-c", both)
		_, err := e.launcher().LaunchTask(e.ctx, second, containerd.LaunchTaskRequest{IO: io})
		e.class(err, errdefs.IsFailedPrecondition, second)
		e.noTask(second)
		e.ok(e.Service.DeleteContainer(e.ctx, second, nil))
		e.wantLog(first, "to stdout\n", "to stderr\n")
	}},
	{name: "LaunchTask: a directory with other files is no log's", run: func(e *env) {
		io := e.logIO()
		e.ok(os.Mkdir(io.Dir, 0o700))
		theirs := filepath.Join(io.Dir, "20251126.log")
		e.ok(os.WriteFile(theirs, []byte("theirs"), 0o600))
		id := e.create("sh", "-c", both)
		_, err := e.launcher().LaunchTask(e.ctx, id, containerd.LaunchTaskRequest{IO: io})
		e.class(err, errdefs.IsFailedPrecondition, id)
		e.want(e.read(theirs) == "theirs", "the file was changed")
	}},
	{name: "LaunchTask: a container's log stays in its directory", run: func(e *env) {
		id := e.logged("sh", "-c", both)
		e.waitExit(id)
		_, err := e.launcher().LaunchTask(e.ctx, id, containerd.LaunchTaskRequest{IO: containerd.LogIO{Dir: e.file("another")}})
		e.class(err, errdefs.IsFailedPrecondition, id)
		e.launch(id, containerd.LaunchTaskRequest{IO: containerd.LogIO{}})
		e.waitExit(id)
		e.wantLog(id, "to stdout\nto stdout\n", "to stderr\nto stderr\n")
	}},
	{name: "LaunchTask: a log outlives many short tasks", run: func(e *env) {
		id := e.logged("sh", "-c", both)
		e.waitExit(id)
		for range 4 { // one more than the files that are kept
			e.launch(id, containerd.LaunchTaskRequest{IO: containerd.LogIO{}})
			e.waitExit(id)
		}
		e.wantLog(id, strings.Repeat("to stdout\n", 5), strings.Repeat("to stderr\n", 5))
	}},
	{name: "RestartTask: a deleted task's log has its input again", run: func(e *env) {
		id := e.terminalLogged("sh", "-c", "read x; sleep 300")
		e.ok(e.Service.DeleteTask(e.ctx, id, &containerd.DeleteTaskOptions{Force: true}))
		e.restart(id)
		a, err := e.attacher().AttachTask(e.ctx, id, containerd.AttachTaskRequest{Stdin: strings.NewReader("")})
		e.ok(err)
		e.ok(a.Detach())
	}},
	{name: "Logs: a container that was given another's labels does not get its log", run: func(e *env) {
		first := e.logged("sh", "-c", both)
		e.waitExit(first)
		second := e.create("true")
		record := e.record(second)
		record.Labels = e.record(first).Labels
		_, err := e.Client.ContainerService().Update(e.raw, record, "labels")
		e.ok(err)
		_, err = e.entries(second, nil)
		e.class(err, errdefs.IsFailedPrecondition, second)
		e.ok(e.Service.DeleteContainer(e.ctx, second, nil))
		e.wantLog(first, "to stdout\n", "to stderr\n")
	}},
	{name: "DeleteContainer: other files in the log's directory stay, and nothing of the log", run: func(e *env) {
		id := e.logged("sh", "-c", both)
		e.waitExit(id)
		theirs := filepath.Join(e.file("log"), "theirs")
		e.ok(os.WriteFile(theirs, nil, 0o600))
		e.ok(e.Service.DeleteContainer(e.ctx, id, nil))
		left, err := dirEntries(e.file("log"))
		e.ok(err)
		e.want(len(left) == 1, "there is %v", left)
		e.createWith(containerd.CreateContainerRequest{ID: id})
	}},
}
