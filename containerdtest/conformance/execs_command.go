package conformance

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

// command returns a shell line as a command.
func (e *env) command(id, line string) *containerd.Cmd {
	e.Helper()
	return containerd.Command(e.executor(), id, "sh", "-c", line)
}

// exitError checks that err is the error of a command that did run.
func (e *env) exitError(err error, code uint32) containerd.ExitError {
	e.Helper()
	var failed *containerd.ExitError
	if !errors.As(err, &failed) {
		e.Fatalf("error is no *ExitError: %v", err)
	}
	e.wantCode(failed.ExecExit, code)
	return *failed
}

var commandCases = []testCase{
	{name: "Cmd.Run: exit code 0 is no error", run: func(e *env) {
		c := e.command(e.start(), "true")
		e.ok(c.Run(e.ctx))
		e.wantCode(c.Exit, 0)
	}},
	{name: "Cmd.Run: another exit code is an ExitError, with what was written to stderr", run: func(e *env) {
		failed := e.exitError(e.command(e.start(), "echo out; echo reason >&2; exit 7").Run(e.ctx), yes)
		if string(failed.Stderr) != "reason\n" || failed.Error() != "exit status 7" {
			e.Errorf("%v, stderr %q", failed.Error(), failed.Stderr)
		}
	}},
	{name: "Cmd.Run: of much stderr the beginning and the end are kept", run: func(e *env) {
		failed := e.exitError(e.command(e.start(), "echo first >&2; "+strings.Replace(loud, "exit 7", "echo last >&2; exit 7", 1)).Run(e.ctx), yes)
		text := string(failed.Stderr)
		if !strings.HasPrefix(text, "first\n") || !strings.HasSuffix(text, "last\n") || len(text) > 80<<10 {
			e.Errorf("%d bytes: %.20q ... %.20q", len(text), text, text[max(0, len(text)-20):])
		}
	}},
	{name: "Cmd.Output: returns stdout, and nothing else", run: func(e *env) {
		out, err := e.command(e.start(), "echo out; echo err >&2").Output(e.ctx)
		e.ok(err)
		if string(out) != "out\n" {
			e.Errorf("output %q", out)
		}
	}},
	{name: "Cmd.CombinedOutput: returns both streams", run: func(e *env) {
		out, err := e.command(e.start(), "echo out; echo err >&2; exit 7").CombinedOutput(e.ctx)
		e.exitError(err, yes)
		if s := string(out); len(s) != 8 || !strings.Contains(s, "out\n") || !strings.Contains(s, "err\n") {
			e.Errorf("output %q", out)
		}
	}},
	{name: "Cmd.CombinedOutput: of a terminal is its one stream", run: func(e *env) {
		c := e.command(e.start(), "echo out; echo err >&2")
		c.Terminal = true
		out, err := c.CombinedOutput(e.ctx)
		e.ok(err)
		if string(out) != "out\r\nerr\r\n" {
			e.Errorf("output %q", out)
		}
	}},
	{name: "Cmd: the fields are the process's settings", run: func(e *env) {
		c := e.command(e.start(), `echo "$TASTE $(pwd) $(cat)"`)
		c.Env, c.Dir, c.Stdin = []string{"TASTE=sweet"}, "/tmp", strings.NewReader("typed")
		out, err := c.Output(e.ctx)
		e.ok(err)
		if string(out) != "sweet /tmp typed\n" {
			e.Errorf("output %q", out)
		}
	}},
	{name: "Cmd.StdinPipe and Cmd.StdoutPipe: a dialogue", run: func(e *env) {
		c := containerd.Command(e.executor(), e.start(), "cat")
		in, err := c.StdinPipe()
		e.ok(err)
		out, err := c.StdoutPipe()
		e.ok(err)
		e.ok(c.Start(e.ctx))
		for _, text := range []string{"first", "second"} {
			_, err := io.WriteString(in, text)
			e.ok(err)
			got := make([]byte, len(text))
			_, err = io.ReadFull(out, got)
			e.ok(err)
			if string(got) != text {
				e.Errorf("got %q, want %q", got, text)
			}
		}
		e.ok(in.Close())
		rest, err := io.ReadAll(out)
		e.ok(err)
		if len(rest) > 0 {
			e.Errorf("there was more: %q", rest)
		}
		e.ok(c.Wait())
	}},
	{name: "Cmd.StdoutPipe and Cmd.StderrPipe: what a process wrote can be read after it has ended", run: func(e *env) {
		id := e.start()
		c := e.command(id, "echo out; echo err >&2")
		c.WaitDelay = 50 * time.Millisecond // of no account while nobody has called Wait
		out, err := c.StdoutPipe()
		e.ok(err)
		errs, err := c.StderrPipe()
		e.ok(err)
		e.ok(c.Start(e.ctx))
		for e.process(id, c.Exec.ID()).GetStatus().String() == "RUNNING" {
			e.pauseBriefly()
		}
		for range 20 {
			e.pauseBriefly()
		}
		for want, r := range map[string]io.Reader{"out\n": out, "err\n": errs} {
			got, err := io.ReadAll(r)
			e.ok(err)
			if string(got) != want {
				e.Errorf("got %q, want %q", got, want)
			}
		}
		e.ok(c.Wait())
		e.noExec(id, c.Exec.ID())
	}},
	{name: "Cmd.Wait: a pipe that nobody reads delays it by WaitDelay", run: func(e *env) {
		id := e.start()
		c := e.command(id, "echo out; exit 7")
		c.WaitDelay = 100 * time.Millisecond
		out, err := c.StdoutPipe()
		e.ok(err)
		e.ok(c.Start(e.ctx))
		e.within(10*time.Second, "the command", func() { e.exitError(c.Wait(), yes) })
		_, err = io.ReadAll(out)
		e.ok(err)
		e.onlyInit(id)
	}},
	{name: "Cmd.StdinPipe: writes fail once the process has ended", run: func(e *env) {
		c := e.command(e.start(), "exit 0")
		in, err := c.StdinPipe()
		e.ok(err)
		e.ok(c.Start(e.ctx))
		for {
			if _, err := in.Write(bytes.Repeat([]byte("x"), 1<<16)); err != nil {
				break
			}
		}
		e.ok(c.Wait())
	}},
	{name: "Cmd.Run: the end of its context is told from an exit code", run: func(e *env) {
		id := e.start()
		limit := e.ample(id, 500*time.Millisecond)
		for sig, code := range map[syscall.Signal]uint32{0: 137, syscall.SIGTERM: 143} {
			ctx, cancel := context.WithTimeout(e.ctx, limit)
			c := containerd.Command(e.executor(), id, "sleep", "300")
			c.StopSignal = sig
			e.within(limit+promptly, "the command", func() {
				err := c.Run(ctx)
				e.class(err, isContextEnd, id)
				e.exitError(err, code)
			})
			cancel()
			e.onlyInit(id)
		}
	}},
	{name: "Cmd.Run: what can't be run is told apart", run: func(e *env) {
		id := e.start()
		err := containerd.Command(e.executor(), id, "no-such-program").Run(e.ctx)
		e.class(err, errdefs.IsNotFound, id)
		if !errors.Is(err, containerd.ErrExecutableNotFound) {
			e.Errorf("not ErrExecutableNotFound: %v", err)
		}
		e.onlyInit(id)
	}},
}
