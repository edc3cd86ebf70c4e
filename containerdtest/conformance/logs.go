package conformance

import (
	"bytes"
	"fmt"
	"io"
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
		logged := map[string]time.Time{} // when a line was begun
		for _, entry := range list {
			logged[strings.TrimSpace(string(entry.Data))] = entry.Time
		}
		got := e.log(id, &containerd.LogsOptions{Since: logged["4"], Until: logged["7"].Add(-1)})["stdout"]
		e.want(got == "4\n5\n6\n", "got %q", got)
		got = e.log(id, &containerd.LogsOptions{Since: list[len(list)-1].Time.Add(1)})["stdout"]
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
		got := <-followed
		e.want(got["stdout"] == "before\nafter\n", "got %q", got)
	}},
}

// attachCases are the contract of Attacher.
var attachCases = []testCase{
	{name: "AttachTask: ten attachments get the same bytes, from the begin", run: func(e *env) {
		id := e.logged("sh", "-c", "while [ ! -e /go ]; do sleep 0.02; done; "+loud)
		var outs, errs [10]bytes.Buffer
		var list []containerd.Attachment
		for i := range outs {
			a, err := e.attacher().AttachTask(e.ctx, id, containerd.AttachTaskRequest{Stdout: &outs[i], Stderr: &errs[i], Tail: -1})
			e.ok(err)
			list = append(list, a)
		}
		e.sh(id, "echo > /go")
		want := strings.Repeat(strings.Repeat("0123456789abcdef", 1<<12)+"\n", 20)
		for i, a := range list {
			e.ok(a.Wait(e.ctx))
			e.want(outs[i].String() == want && errs[i].String() == want, "attachment %d got %d and %d bytes", i, outs[i].Len(), errs[i].Len())
		}
	}},
	{name: "AttachTask: without Tail nothing from before is delivered, and everything after", run: func(e *env) {
		id := e.logged("sh", "-c", "echo before; echo > /said; while [ ! -e /go ]; do sleep 0.02; done; echo after")
		e.wantTrue(id, "while [ ! -e /said ]; do sleep 0.02; done; true", containerd.ExecTaskRequest{})
		var out bytes.Buffer
		a, err := e.attacher().AttachTask(e.ctx, id, containerd.AttachTaskRequest{Stdout: &out})
		e.ok(err)
		e.sh(id, "echo > /go")
		e.ok(a.Wait(e.ctx))
		e.want(out.String() == "after\n", "got %q", out.String())
	}},
	{name: "AttachTask: detaching does not disturb the task, nor other attachments", run: func(e *env) {
		id := e.logged("sh", "-c", "while [ ! -e /go ]; do sleep 0.02; done; echo after")
		var gone, stays bytes.Buffer
		first, err := e.attacher().AttachTask(e.ctx, id, containerd.AttachTaskRequest{Stdout: &gone})
		e.ok(err)
		second, err := e.attacher().AttachTask(e.ctx, id, containerd.AttachTaskRequest{Stdout: &stays})
		e.ok(err)
		e.ok(first.Detach())
		e.ok(first.Detach())
		e.wantStatus(id, "RUNNING")
		e.sh(id, "echo > /go")
		e.ok(second.Wait(e.ctx))
		e.want(gone.Len() == 0 && stays.String() == "after\n", "got %q and %q", gone.String(), stays.String())
		e.class(first.Wait(e.ctx), isContextEnd, id)
	}},
	{name: "AttachTask: the input is one attachment's at a time", run: func(e *env) {
		id := e.terminalLogged("sh", "-c", "while read x; do echo got $x; done")
		input, typing := io.Pipe()
		var out bytes.Buffer
		writer, err := e.attacher().AttachTask(e.ctx, id, containerd.AttachTaskRequest{Stdin: input})
		e.ok(err)
		_, err = e.attacher().AttachTask(e.ctx, id, containerd.AttachTaskRequest{Stdin: strings.NewReader("x\n")})
		e.class(err, errdefs.IsFailedPrecondition, id)
		e.isInputTaken(err)
		reader, err := e.attacher().AttachTask(e.ctx, id, containerd.AttachTaskRequest{Stdout: &out, Tail: -1})
		e.ok(err)
		_, err = typing.Write([]byte("one\n"))
		e.ok(err)
		e.until(func() bool { return strings.Contains(e.log(id, nil)["stdout"], "got one") })
		e.ok(writer.Detach())
		e.ok(typing.Close())
		_, err = e.attacher().AttachTask(e.ctx, id, containerd.AttachTaskRequest{Stdin: strings.NewReader("two\n\x04")})
		e.ok(err)
		e.ok(reader.Wait(e.ctx))
		e.want(strings.Contains(out.String(), "got one\r\n") && strings.Contains(out.String(), "got two\r\n"), "got %q", out.String())
	}},
	{name: "AttachTask: a task without an input has none to attach to", run: func(e *env) {
		id := e.logged("sleep", "300")
		_, err := e.attacher().AttachTask(e.ctx, id, containerd.AttachTaskRequest{Stdin: strings.NewReader("")})
		e.class(err, errdefs.IsFailedPrecondition, id)
	}},
	{name: "AttachTask: the terminal's size can be changed", run: func(e *env) {
		id := e.terminalLogged("sh", "-c", "sleep 300")
		a, err := e.attacher().AttachTask(e.ctx, id, containerd.AttachTaskRequest{})
		e.ok(err)
		e.ok(a.Resize(e.ctx, 120, 40))
		e.ok(a.Detach())
	}},
	{name: "AttachTask: a writer that fails ends its attachment with the writer's error", run: func(e *env) {
		id := e.logged("sh", "-c", "echo x; sleep 300")
		a, err := e.attacher().AttachTask(e.ctx, id, containerd.AttachTaskRequest{Stdout: fullWriter{}, Tail: -1})
		e.ok(err)
		err = a.Wait(e.ctx)
		e.want(err != nil && strings.Contains(err.Error(), "full"), "got %v", err)
		e.wantStatus(id, "RUNNING")
	}},
	{name: "AttachTask: a task that was started without a log, has ended, or is not there", run: func(e *env) {
		plain, ended, taskless := e.start(), e.logged("true"), e.create()
		e.waitExit(ended)
		for id, is := range map[string]func(error) bool{
			plain: errdefs.IsFailedPrecondition, ended: errdefs.IsFailedPrecondition, taskless: errdefs.IsNotFound, e.id(): errdefs.IsNotFound,
		} {
			_, err := e.attacher().AttachTask(e.ctx, id, containerd.AttachTaskRequest{})
			e.class(err, is, id)
		}
	}},
}
