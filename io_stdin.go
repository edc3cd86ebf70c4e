package containerd

import (
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// input is a reader that one goroutine reads and another one can stop.
type input interface {
	io.Reader
	// stop ends a Read that waits, if it can, and all later ones with errStopped.
	stop() error
	// stuck says whether a Read is under way that can't be stopped.
	stuck() bool
	// release frees what is held, when nobody reads any more.
	release() error
}

// errStopped is the end of an input that nobody reads any more. It is no other's:
// what a caller's reader fails with is told to the caller.
var errStopped = errors.New("reading was stopped")

// newInput returns r as an input; nil is one that is at its end.
func newInput(r io.Reader) (input, error) {
	switch r := r.(type) {
	case nil:
		return &callerInput{reader: eof{}}, nil
	case *os.File:
		return newStdinReader(r)
	case stoppable:
		return &pipeInput{r}, nil
	}
	return &callerInput{reader: r}, nil
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// stdinReader reads a file, and can be stopped while the file has nothing to
// read. It is not closed: the file is this process's own, or a caller's.
type stdinReader struct {
	file  *os.File
	wakeR *os.File
	wakeW *os.File
}

func newStdinReader(file *os.File) (*stdinReader, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &stdinReader{file: file, wakeR: r, wakeW: w}, nil
}

// Read waits until there is something to read, the file ends, or stop is called.
func (r *stdinReader) Read(p []byte) (int, error) {
	if err := r.wait(); err != nil {
		return 0, err
	}
	n, err := r.file.Read(p)
	if errors.Is(err, os.ErrClosed) {
		err = io.EOF // as in wait
	}
	return n, err
}

func (r *stdinReader) wait() error {
	fd, err := descriptor(r.file)
	if err != nil {
		return io.EOF // closed: there is no more input
	}
	wake, err := descriptor(r.wakeR)
	if err != nil {
		return err
	}
	for {
		fds := []unix.PollFd{{Fd: fd, Events: unix.POLLIN}, {Fd: wake, Events: unix.POLLIN}}
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case fds[1].Revents != 0:
			return errStopped
		case fds[0].Revents != 0:
			return nil
		}
	}
}

func (r *stdinReader) stop() error { return ignoreClosed(r.wakeW.Close()) }

func (r *stdinReader) stuck() bool { return false }

func (r *stdinReader) release() error { return r.wakeR.Close() }

// descriptor returns the file's descriptor without changing its mode, as Fd would.
func descriptor(f *os.File) (int32, error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var fd int32
	err = conn.Control(func(n uintptr) { fd = int32(n) })
	return fd, err
}

// stoppable is a reader of this package that ends when it is told to.
type stoppable interface {
	io.Reader
	stopReading() error
}

// pipeInput reads what a stoppable reader gives.
type pipeInput struct{ stoppable }

func (r *pipeInput) stop() error    { return r.stopReading() }
func (r *pipeInput) stuck() bool    { return false }
func (r *pipeInput) release() error { return nil }

// callerInput reads a caller's reader, of which nothing is known: a Read that
// waits there ends when the reader pleases, and what it brings is dropped then.
type callerInput struct {
	reader io.Reader

	mu      sync.Mutex
	reading bool
	stopped bool
}

func (r *callerInput) Read(p []byte) (int, error) {
	if !r.enter() {
		return 0, errStopped
	}
	n, err := r.reader.Read(p)
	if !r.leave() {
		return 0, errStopped
	}
	return n, err
}

func (r *callerInput) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reading = !r.stopped
	return r.reading
}

func (r *callerInput) leave() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reading = false
	return !r.stopped
}

func (r *callerInput) stop() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	return nil
}

func (r *callerInput) stuck() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reading
}

func (r *callerInput) release() error { return nil }
