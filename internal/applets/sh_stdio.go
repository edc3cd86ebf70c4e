package applets

import (
	"context"
	"io"
	"os"
	"sync"
	"sync/atomic"
)

// input gives interp, which reads from an *os.File only, another kind of stdin.
// It is a pipe that stays empty until a builtin is about to read it: children
// get stdin itself, with what is in it. A nil input is that of a shell that
// does not need one.
type input struct {
	stdin   io.Reader
	r, w    *os.File
	pumping atomic.Bool
	closing sync.Once
}

func newInput(stdin io.Reader) (*input, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &input{stdin: stdin, r: r, w: w}, nil
}

// forChild returns what a child gets for interp's stdin.
func (in *input) forChild(stdin io.Reader) io.Reader {
	if in != nil && stdin == in.r && !in.pumping.Load() {
		return in.stdin
	}
	return stdin
}

// pump lets all of stdin through the pipe from now on, if that is what stands
// for a builtin's stdin.
func (in *input) pump(stdin io.Reader) {
	if in == nil || stdin != in.r || !in.pumping.CompareAndSwap(false, true) {
		return
	}
	go func() {
		io.Copy(in.w, in.stdin) //nolint:errcheck // as for any reader of a pipe, an error is the end
		in.closeWrite()
	}()
}

func (in *input) closeWrite() {
	in.closing.Do(func() { in.w.Close() }) //nolint:errcheck // a pipe's end has nothing to lose
}

// close ends the pipe, and the pump as soon as stdin gives it something or ends.
func (in *input) close() {
	if in != nil {
		in.closeWrite()
		in.r.Close() //nolint:errcheck // a pipe's end has nothing to lose
	}
}

// read reads what an interactive shell runs.
func (s *shell) read(p []byte) (int, error) {
	in := s.sys.Stdin()
	if s.input != nil {
		in = s.input.forChild(s.input.r)
	}
	if in == nil {
		return 0, io.EOF
	}
	return in.Read(p)
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// readPipe returns the end of a pipe that f, which it closes, is copied into. It
// is not left to interp, which would never close that end.
func readPipe(f io.ReadCloser) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		f.Close() //nolint:errcheck // it was only to be read
		return nil, err
	}
	go func() {
		io.Copy(w, f) //nolint:errcheck // as for any reader of a pipe, an error is the end
		w.Close()     //nolint:errcheck // a pipe's end has nothing to lose
		f.Close()     //nolint:errcheck // it was only to be read
	}()
	return r, nil
}

// output is the shell's stdout or stderr. interp drops its errors, so that a
// loop would write on and on without a reader: output ends the shell, as SIGPIPE
// ends a process.
type output struct {
	io.Writer
	end context.CancelCauseFunc
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	if isBrokenPipe(err) {
		o.end(err)
	}
	return n, err
}

// Fd lets the shell's test -t find a terminal.
func (o *output) Fd() uintptr {
	if f, ok := o.Writer.(interface{ Fd() uintptr }); ok {
		return f.Fd()
	}
	return ^uintptr(0)
}

// unwrapped returns what a child gets for interp's stdout or stderr.
func unwrapped(w io.Writer) io.Writer {
	if o, ok := w.(*output); ok {
		return o.Writer
	}
	return w
}
