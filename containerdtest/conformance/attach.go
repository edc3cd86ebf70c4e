package conformance

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing/iotest"
	"time"

	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

// errBroken is a reader's.
var errBroken = errors.New("broken")

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
	{name: "AttachTask: the terminal's size can be changed, to one that a terminal can have", run: func(e *env) {
		id := e.terminalLogged("sh", "-c", "sleep 300")
		a, err := e.attacher().AttachTask(e.ctx, id, containerd.AttachTaskRequest{})
		e.ok(err)
		e.ok(a.Resize(e.ctx, 120, 40))
		for _, size := range [][2]uint32{{0, 0}, {0, 40}, {120, 0}, {1 << 16, 40}, {120, 1 << 31}} {
			e.class(a.Resize(e.ctx, size[0], size[1]), errdefs.IsInvalidArgument, id)
		}
		e.ok(a.Detach())
	}},
	{name: "AttachTask: without a terminal there is none to resize", run: func(e *env) {
		id := e.logged("sleep", "300")
		a, err := e.attacher().AttachTask(e.ctx, id, containerd.AttachTaskRequest{})
		e.ok(err)
		e.class(a.Resize(e.ctx, 120, 40), errdefs.IsFailedPrecondition, id)
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
	{name: "AttachTask: a reader that fails ends its attachment with the reader's error", run: func(e *env) {
		id := e.terminalLogged("sh", "-c", "read x; sleep 300")
		a, err := e.attacher().AttachTask(e.ctx, id, containerd.AttachTaskRequest{Stdin: iotest.ErrReader(errBroken)})
		e.ok(err)
		err = a.Wait(e.ctx)
		e.want(errors.Is(err, errBroken), "got %v", err)
		e.wantStatus(id, "RUNNING")
		second, err := e.attacher().AttachTask(e.ctx, id, containerd.AttachTaskRequest{Stdin: strings.NewReader("")})
		e.ok(err)
		e.ok(second.Detach())
	}},
	{name: "AttachTask: a reader that ends leaves the input to other attachments", run: func(e *env) {
		id := e.terminalLogged("sh", "-c", "while read x; do echo got $x; done")
		first, err := e.attacher().AttachTask(e.ctx, id, containerd.AttachTaskRequest{Stdin: strings.NewReader("one\n")})
		e.ok(err)
		e.attachWhenFree(id, strings.NewReader("two\n\x04"))
		e.ok(first.Wait(e.ctx))
		got := e.log(id, nil)["stdout"]
		e.want(strings.Contains(got, "got one\r\n") && strings.Contains(got, "got two\r\n"), "got %q", got)
	}},
	{name: "AttachTask: what comes in a file after the attachment is not the attachment's", run: func(e *env) {
		id := e.terminalLogged("sh", "-c", "while read x; do echo got $x; done")
		keys, typing := e.pipe()
		first, err := e.attacher().AttachTask(e.ctx, id, containerd.AttachTaskRequest{Stdin: keys})
		e.ok(err)
		e.typed(typing, "one\n")
		e.until(func() bool { return strings.Contains(e.log(id, nil)["stdout"], "got one") })
		e.ok(first.Detach())
		e.typed(typing, "two\n")
		second, err := e.attacher().AttachTask(e.ctx, id, containerd.AttachTaskRequest{Stdin: keys})
		e.ok(err)
		e.typed(typing, "\x04")
		e.ok(second.Wait(e.ctx))
		e.until(func() bool { return strings.Contains(e.log(id, nil)["stdout"], "got two") })
		e.typed(typing, "mine\n")
		e.ok(keys.SetReadDeadline(time.Now().Add(promptly)))
		line, err := bufio.NewReader(keys).ReadString('\n')
		e.ok(err)
		e.want(line == "mine\n", "got %q", line)
	}},
	{name: "AttachTask: an attachment ends with the task, not with its output", run: func(e *env) {
		id := e.logged("sh", "-c", "echo last; exec >/dev/null 2>&1; echo > /closed; while [ ! -e /go ]; do sleep 0.02; done; echo > /ended")
		var out bytes.Buffer
		a, err := e.attacher().AttachTask(e.ctx, id, containerd.AttachTaskRequest{Stdout: &out, Tail: -1})
		e.ok(err)
		e.wantTrue(id, "while [ ! -e /closed ]; do sleep 0.02; done; true", containerd.ExecTaskRequest{})
		ctx, cancel := e.briefly()
		defer cancel()
		e.class(a.Wait(ctx), isContextEnd, id)
		e.sh(id, "echo > /go")
		e.ok(a.Wait(e.ctx))
		e.wantStatus(id, "STOPPED")
		e.want(out.String() == "last\n", "got %q", out.String())
	}},
	{name: "AttachTask: typing to a task that is gone loses none of its output", run: func(e *env) {
		id := e.terminalLogged("sh", "-c", "read x; echo at last")
		out := &gatedBuffer{open: make(chan struct{})}
		input, typing := io.Pipe()
		a, err := e.attacher().AttachTask(e.ctx, id, containerd.AttachTaskRequest{Stdin: input, Stdout: out, Tail: -1})
		e.ok(err)
		_, err = typing.Write([]byte("go\n"))
		e.ok(err)
		e.waitExit(id)
		e.ok(e.Service.DeleteTask(e.ctx, id, nil))
		_, err = typing.Write([]byte("too late\n"))
		e.ok(err)
		close(out.open)
		e.ok(a.Wait(e.ctx))
		e.want(out.String() == "go\r\nat last\r\n", "got %q", out.String())
	}},
	{name: "AttachTask: a container that is not there is not-found; one without a running task, or without a log, is a failed precondition", run: func(e *env) {
		plain, ended, taskless := e.start(), e.logged("true"), e.create()
		e.waitExit(ended)
		for id, is := range map[string]func(error) bool{
			plain: errdefs.IsFailedPrecondition, ended: errdefs.IsFailedPrecondition, taskless: errdefs.IsFailedPrecondition, e.id(): errdefs.IsNotFound,
		} {
			_, err := e.attacher().AttachTask(e.ctx, id, containerd.AttachTaskRequest{})
			e.class(err, is, id)
			e.want(errors.Is(err, containerd.ErrNotRunning) == (id == ended || id == taskless), "got %v", err)
		}
	}},
}
