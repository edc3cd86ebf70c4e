package conformance

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/ctrdkit/containerd"
)

var execStreamCases = []testCase{
	{name: "StartExec: stdout and stderr arrive whole and apart", run: func(e *env) {
		id := e.start()
		var stdout, stderr bytes.Buffer
		req := shExec(loud)
		req.Stdout, req.Stderr = &stdout, &stderr
		x := e.startExec(id, req)
		e.wantCode(e.waitExec(x), yes)
		for name, got := range map[string][]byte{"stdout": stdout.Bytes(), "stderr": stderr.Bytes()} {
			if n := bytes.Count(got, []byte("0123456789abcdef")); len(got) != 20*(1<<16+1) || n != 20<<12 {
				e.Errorf("%s has %d bytes, and the text %d times", name, len(got), n)
			}
		}
		e.noExec(id, x.ID())
	}},
	{name: "StartExec: one writer can take both streams", run: func(e *env) {
		var both bytes.Buffer // under the race detector, two writes at once are a failure
		req := shExec(loud)
		req.Stdout, req.Stderr = &both, &both
		e.wantCode(e.waitExec(e.startExec(e.start(), req)), yes)
		if both.Len() != 2*20*(1<<16+1) {
			e.Errorf("%d bytes arrived", both.Len())
		}
	}},
	{name: "StartExec: stderr alone arrives", run: func(e *env) {
		var stderr bytes.Buffer
		req := shExec("echo out; echo err >&2")
		req.Stderr = &stderr
		e.wantCode(e.waitExec(e.startExec(e.start(), req)), 0)
		if stderr.String() != "err\n" {
			e.Errorf("stderr is %q", stderr.String())
		}
	}},
	{name: "StartExec: input of no byte arrives and ends", run: echoes(0)},
	{name: "StartExec: input of one byte arrives and ends", run: echoes(1)},
	{name: "StartExec: input of 1 MiB arrives and ends", run: echoes(1 << 20)},
	{name: "StartExec: without Stdin the input is at its end", run: func(e *env) {
		if got := e.output(e.start(), shExec("cat; echo end")); got != "end\n" {
			e.Errorf("output is %q", got)
		}
	}},
	{name: "StartExec: an input that nobody reads delays nothing", run: func(e *env) {
		req := shExec("exit 7")
		req.Stdin = bytes.NewReader(make([]byte, 1<<20))
		e.within(10*time.Second, "the exec", func() { e.wantCode(e.waitExec(e.startExec(e.start(), req)), yes) })
	}},
	{name: "StartExec: an input that blocks delays nothing", run: func(e *env) {
		r, w := io.Pipe()
		defer w.Close() //nolint:errcheck // it returns nil
		req := shExec("exit 7")
		req.Stdin = r
		e.within(10*time.Second, "the exec", func() { e.wantCode(e.waitExec(e.startExec(e.start(), req)), yes) })
	}},
	{name: "StartExec: an input that fails ends, and Wait says so", run: func(e *env) {
		failed := errors.New("the reader has failed")
		req := containerd.StartExecRequest{Args: []string{"cat"}, Stdin: io.MultiReader(strings.NewReader("some"), brokenStream{failed})}
		var stdout bytes.Buffer
		req.Stdout = &stdout
		id := e.start()
		exit, err := e.startExec(id, req).Wait(e.ctx)
		e.wantCode(exit, 0)
		if !errors.Is(err, failed) || stdout.String() != "some" {
			e.Errorf("output %q, error %v", stdout.String(), err)
		}
	}},
	{name: "StartExec: an output that fails does not block the process, and Wait says so", run: func(e *env) {
		failed := errors.New("the writer has failed")
		req := shExec(loud)
		req.Stdout = brokenStream{failed}
		exit, err := e.startExec(e.start(), req).Wait(e.ctx)
		e.wantCode(exit, yes)
		if !errors.Is(err, failed) {
			e.Errorf("error %v", err)
		}
	}},
	{name: "Exec.CloseStdin: the process sees the end of its input", run: func(e *env) {
		r, w := io.Pipe()
		defer w.Close() //nolint:errcheck // it returns nil
		var stdout bytes.Buffer
		x := e.startExec(e.start(), containerd.StartExecRequest{Args: []string{"cat"}, Stdin: r, Stdout: &stdout})
		_, err := w.Write([]byte("typed"))
		e.ok(err)
		e.ok(x.CloseStdin(e.ctx))
		e.wantCode(e.waitExec(x), 0)
		// What was written a moment ago may or may not have been passed on.
		if got := stdout.String(); got != "typed" && got != "" {
			e.Errorf("output %q", got)
		}
	}},
	{name: "StartExec: a child that holds the output delays Wait by DrainTimeout", run: func(e *env) {
		id := e.start()
		var stdout bytes.Buffer
		req := shExec("echo out; " + leaveChild + "exit 7")
		req.Stdout, req.DrainTimeout = &stdout, 300*time.Millisecond
		x := e.startExec(id, req)
		e.within(300*time.Millisecond+5*time.Second, "the exec", func() { e.wantCode(e.waitExec(x), yes) })
		if stdout.String() != "out\n" {
			e.Errorf("output %q", stdout.String())
		}
		e.wantProcesses(id, 2)
	}},
}

// brokenStream is a reader and a writer that fails.
type brokenStream struct{ err error }

func (f brokenStream) Read([]byte) (int, error)  { return 0, f.err }
func (f brokenStream) Write([]byte) (int, error) { return 0, f.err }

// echoes sends n bytes through cat.
func echoes(n int) func(*env) {
	return func(e *env) {
		input := make([]byte, n)
		for i := range input {
			input[i] = byte(i * 7 >> 3)
		}
		id := e.start()
		got := e.output(id, containerd.StartExecRequest{Args: []string{"cat"}, Stdin: bytes.NewReader(input)})
		if got != string(input) {
			e.Errorf("%d of %d bytes came back, or others", len(got), n)
		}
		e.onlyInit(id)
	}
}
