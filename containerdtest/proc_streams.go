package containerdtest

import (
	"context"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// streams returns the three streams, if they are open.
func (p *process) streams() (in io.Reader, out, errs io.Writer) {
	if p.stdio == nil {
		return nil, nil, nil
	}
	read := func(f *os.File, given io.Reader) io.Reader {
		if f != nil {
			given = f
		}
		if given == nil {
			return nil
		}
		return &reader{p, given, f == nil}
	}
	write := func(f *os.File, given io.Writer) io.Writer {
		if f != nil {
			given = f
		}
		return &writer{p, given, f == nil}
	}
	return read(p.stdio.stdin, p.in), write(p.stdio.stdout, p.out), write(p.stdio.stderr, p.errs)
}

// reader is the input of a process, and writer one of its outputs. Their use
// can wait.
type (
	reader struct {
		process *process
		io.Reader
		inside bool // a pipe between processes of the container
	}
	writer struct {
		process *process
		io.Writer
		inside bool
	}
)

// Read reads when the task is not paused.
func (s *reader) Read(b []byte) (int, error) {
	if s.inside { // else a client is the other side, of which nobody knows what it is about to do
		defer s.process.block(readyFor(s.Reader, unix.POLLIN)).done()
	}
	n, err := s.Reader.Read(b)
	if pauseErr := s.process.awake(context.Background()); err == nil && n == 0 {
		err = pauseErr
	}
	return n, err
}

// Write writes when the task is not paused.
func (s *writer) Write(b []byte) (int, error) {
	if s.inside {
		defer s.process.block(readyFor(s.Writer, unix.POLLOUT)).done()
	}
	if err := s.process.awake(context.Background()); err != nil {
		return 0, err
	}
	return s.Writer.Write(b)
}

// Fd lets a shell find out whether it writes to a terminal. The descriptor is
// not for anything else.
func (s *writer) Fd() uintptr {
	fd := ^uintptr(0)
	if f, ok := s.Writer.(*os.File); ok {
		ignore(control(f, func(n int) error { fd = uintptr(n); return nil }))
	}
	return fd
}

// readyFor returns what says whether a call that waits for a stream is about to
// return, as far as that can be known.
func readyFor(stream any, event int16) func() bool {
	f, ok := stream.(*os.File)
	if !ok {
		return func() bool { return false }
	}
	return func() bool {
		ready, err := poll(f, event)
		return ready || err != nil
	}
}
