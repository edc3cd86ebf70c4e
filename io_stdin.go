package containerd

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// stdinReader reads a file of this process, and can be stopped while the file
// has nothing to read. It is not closed: the file is the process's own.
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
	return r.file.Read(p)
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
			return os.ErrClosed
		case fds[0].Revents != 0:
			return nil
		}
	}
}

// stop ends a Read that waits, and all later ones.
func (r *stdinReader) stop() error { return r.wakeW.Close() }

// release frees the descriptors, when nobody reads any more.
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
