package containerdtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/containerd/fifo"
)

// checkAddress says why a shim can't write to an address.
func checkAddress(address string) error {
	const failed = "failed to create init process I/O: "
	u, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf(failed+"unable to parse stdout uri: %w", err)
	}
	switch u.Scheme {
	case "", "fifo", "file":
		return nil
	case "binary", "binary-v2":
		return fmt.Errorf("the fake runs no logging programs, such as %s: %w", address, errdefs.ErrNotImplemented)
	}
	return fmt.Errorf(failed+"unknown STDIO scheme %s", u.Scheme)
}

// openInput opens a FIFO for reading, and keeps an end for writing open.
func openInput(path string) (file, end *os.File, err error) {
	if path == "" {
		file, err = os.Open(os.DevNull)
		return file, nil, err
	}
	if file, err = os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0); err != nil {
		return nil, nil, fmt.Errorf("failed to open stdin fifo %s: stat %s: %w", path, path, errors.Unwrap(err))
	}
	if ok, err := fifo.IsFifo(path); err != nil || !ok {
		return file, nil, err
	}
	end, err = os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	return file, end, err
}

// filePath returns the path of a file:// address.
func filePath(address string) (string, bool) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "file" {
		return "", false
	}
	return u.Path, true
}

// openOutput opens where a process writes to: a FIFO or a file.
func (s *stdio) openOutput(ctx context.Context, address string) (*os.File, error) {
	const failed = "failed to start io pipe copy: unable to copy pipes: containerd-shim: opening "
	if path, ok := filePath(address); ok {
		return openAppend(path)
	}
	isFIFO, err := fifo.IsFifo(address)
	if err != nil {
		return nil, fmt.Errorf(failed+"%q failed: %w", address, err)
	}
	if isFIFO {
		f, err := openFIFO(ctx, address)
		if err != nil {
			return nil, fmt.Errorf(failed+"w/o fifo %q failed: %w", address, err)
		}
		s.fifos = append(s.fifos, f)
		return f, nil
	}
	f, err := os.OpenFile(address, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, fmt.Errorf(failed+"file %q failed: %w", address, err)
	}
	return f, nil
}

func openAppend(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
}

// openFIFO opens a FIFO for writing when it has a reader. It also opens the
// reader's end, so that the reader may leave and another one come.
func openFIFO(ctx context.Context, path string) (*os.File, error) {
	w, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if !errors.Is(err, syscall.ENXIO) {
		if err != nil {
			return nil, err
		}
		defer func() { ignore(w.Close()) }()
		return os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
	}
	waiting, err := fifo.OpenFifo(ctx, path, syscall.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { ignore(waiting.Close()) }()
	return os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
}
