package conformance

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

// logCases are the contract of LogReader.
var logCases = []testCase{
	{name: "Logs: everything that a running task has written is there", run: func(e *env) {
		id := e.logged("sh", "-c", both+"; sleep 300")
		e.untilLogged(id, "stderr", 1)
		e.wantLog(id, "to stdout\n", "to stderr\n")
	}},
	{name: "Logs: the log of an ended task stays, also when the task is deleted", run: func(e *env) {
		id := e.logged("sh", "-c", both)
		e.waitExit(id)
		e.wantLog(id, "to stdout\n", "to stderr\n")
		e.ok(e.Service.DeleteTask(e.ctx, id, nil))
		e.wantLog(id, "to stdout\n", "to stderr\n")
	}},
	{name: "Logs: the log goes with the container", run: func(e *env) {
		id := e.logged("sh", "-c", both)
		e.waitExit(id)
		e.ok(e.Service.DeleteContainer(e.ctx, id, nil))
		_, err := e.entries(id, nil)
		e.class(err, errdefs.IsNotFound, id)
		if left, err := dirEntries(e.file("log")); err == nil {
			e.Errorf("is left of the log: %v", left)
		}
	}},
	{name: "Logs: every byte comes back, of lines of any length and of none", run: func(e *env) {
		id := e.logged("sh", "-c", loud+"; echo -n no end")
		e.waitExit(id)
		want := strings.Repeat(strings.Repeat("0123456789abcdef", 1<<12)+"\n", 20)
		e.wantLog(id, want, want)
	}},
	{name: "Logs: entries have times in order, and the stream they were written to", run: func(e *env) {
		began := time.Now()
		id := e.logged("sh", "-c", "echo 1; sleep 0.05; echo 2 >&2; sleep 0.05; echo 3")
		e.waitExit(id)
		list, err := e.entries(id, nil)
		e.ok(err)
		var text string
		for i, entry := range list {
			if text == "" || strings.HasSuffix(text, "\n") {
				text += entry.Stream + " "
			}
			text += string(entry.Data)
			e.want(entry.Partial != strings.HasSuffix(string(entry.Data), "\n"), "entry %d is %+v", i, entry)
			e.want(entry.Time.After(began.Add(-time.Second)) && entry.Time.Before(time.Now().Add(time.Second)), "logged at %v", entry.Time)
			e.want(i == 0 || !entry.Time.Before(list[i-1].Time), "entry %d is older than the one before", i)
		}
		e.want(text == "stdout 1\nstderr 2\nstdout 3\n", "got %q", text)
	}},
	{name: "Logs: Follow ends by itself when the task has ended and all is delivered", run: func(e *env) {
		id := e.logged("sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.02; done; echo -n end")
		got := e.log(id, &containerd.LogsOptions{Follow: true})
		e.want(got["stdout"] == "1\n2\n3\n4\n5\n6\n7\n8\n9\nend", "got %q", got["stdout"])
		e.wantStatus(id, "STOPPED")
	}},
	{name: "Logs: Follow of a task that has ended gives everything and ends", run: func(e *env) {
		id := e.logged("sh", "-c", both)
		e.waitExit(id)
		got := e.log(id, &containerd.LogsOptions{Follow: true})
		e.want(got["stdout"] == "to stdout\n" && got["stderr"] == "to stderr\n", "got %q", got)
	}},
	{name: "Logs: Follow delivers what is written at once, also without the end of a line", run: func(e *env) {
		id := e.logged("sh", "-c", "echo -n prompt; sleep 300")
		for entry, err := range e.logs().Logs(e.ctx, id, &containerd.LogsOptions{Follow: true}) {
			e.ok(err)
			e.want(string(entry.Data) == "prompt" && entry.Partial, "got %+v", entry)
			break
		}
	}},
	{name: "Logs: Follow ends with its context's error", run: func(e *env) {
		id := e.logged("sleep", "300")
		ctx, cancel := e.briefly()
		defer cancel()
		var last error
		for _, err := range e.logs().Logs(ctx, id, &containerd.LogsOptions{Follow: true}) {
			last = err
		}
		e.class(last, isContextEnd, id)
	}},
	{name: "Logs: Tail gives the last lines", run: func(e *env) {
		id := e.numbered()
		for n, want := range map[int]string{1: "9\n", 3: "7\n8\n9\n", 100: "1\n2\n3\n4\n5\n6\n7\n8\n9\n", 0: "1\n2\n3\n4\n5\n6\n7\n8\n9\n", -1: ""} {
			got := e.log(id, &containerd.LogsOptions{Tail: n})["stdout"]
			e.want(got == want, "Tail %d gives %q, want %q", n, got, want)
		}
	}},
	{name: "Logs: Since and Until choose by time, inclusively", run: func(e *env) {
		id := e.numbered()
		list, err := e.entries(id, nil)
		e.ok(err)
		since, until := list[len(list)/3].Time, list[len(list)*2/3].Time
		for _, end := range []time.Time{until, until.Add(-1)} {
			var want []containerd.LogEntry // a busy logger gives two lines one time
			for _, entry := range list {
				if !entry.Time.Before(since) && !entry.Time.After(end) {
					want = append(want, entry)
				}
			}
			got := e.log(id, &containerd.LogsOptions{Since: since, Until: end})
			e.want(maps.Equal(got, joined(want)), "from %v to %v: got %q, want %q", since, end, got, joined(want))
		}
		got := e.log(id, &containerd.LogsOptions{Since: list[len(list)-1].Time.Add(1)})["stdout"]
		e.want(got == "", "got %q after the last one", got)
	}},
	{name: "Logs: Stream chooses one of both", run: func(e *env) {
		id := e.logged("sh", "-c", both)
		e.waitExit(id)
		got := e.log(id, &containerd.LogsOptions{Stream: "stderr"})
		e.want(got["stdout"] == "" && got["stderr"] == "to stderr\n", "got %q", got)
	}},
	{name: "Logs: a log that rotates loses only its oldest files", run: func(e *env) {
		io := e.logIO()
		io.MaxSize, io.MaxFiles = 4096, 3
		id := e.create("sh", "-c", "i=0; while [ $i -lt 1000 ]; do i=$((i+1)); echo line $i; done")
		e.launch(id, containerd.LaunchTaskRequest{IO: io})
		e.waitExit(id)
		lines := strings.Split(strings.TrimSpace(e.log(id, nil)["stdout"]), "\n")
		e.want(len(lines) > 20 && len(lines) < 1000, "%d lines are there", len(lines))
		for i, line := range lines[1:] { // the first one may have begun in a file that is gone
			if want := fmt.Sprintf("line %d", 1000-len(lines)+2+i); line != want {
				e.Fatalf("%q is there, want %q", line, want)
			}
		}
	}},
	{name: "Logs: Follow reads across rotation", run: func(e *env) {
		io := e.logIO()
		io.MaxSize, io.MaxFiles = 4096, 1000
		id := e.create("sh", "-c", "i=0; while [ $i -lt 1000 ]; do i=$((i+1)); echo line $i; done")
		e.launch(id, containerd.LaunchTaskRequest{IO: io})
		got := e.log(id, &containerd.LogsOptions{Follow: true})["stdout"]
		e.want(strings.Count(got, "\n") == 1000 && strings.HasSuffix(got, "line 1000\n"), "got %d lines", strings.Count(got, "\n"))
	}},
	{name: "Logs: a container that never had a log is a failed precondition", run: func(e *env) {
		id := e.create()
		_, err := e.entries(id, nil)
		e.class(err, errdefs.IsFailedPrecondition, id)
	}},
	{name: "Logs: bad options are invalid arguments", run: func(e *env) {
		id := e.create()
		now := time.Now()
		for field, opts := range map[string]*containerd.LogsOptions{
			"Stream": {Stream: "stdin"}, "Until": {Since: now, Until: now.Add(-1)},
		} {
			_, err := e.entries(id, opts)
			e.invalid(err, id, field)
		}
	}},
	{name: "Logs: a restart of the daemon disturbs neither the log nor who follows it", needs: needsRestart, run: func(e *env) {
		id := e.logged("sh", "-c", "echo before; while [ ! -e /go ]; do sleep 0.02; done; echo after")
		followed := make(chan map[string]string, 1)
		go func() { followed <- e.followed(id) }()
		e.until(func() bool { return e.log(id, nil)["stdout"] == "before\n" })
		e.Restart(e.T)
		e.sh(id, "echo > /go")
		got := received(e, followed)
		e.want(got["stdout"] == "before\nafter\n", "got %q", got)
	}},
}
