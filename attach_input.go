package containerd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ctrdkit/containerd/internal/logfile"
)

// taskInput is the input of a task, which one attachment of all processes holds.
type taskInput struct {
	fifo *os.File
	lock *os.File // the same, held until nothing is written to the other any more

	once sync.Once
	err  error
}

// takeInput opens the input of a task, which nobody else may hold then.
func takeInput(dir string) (_ *taskInput, err error) {
	var in taskInput
	if in.lock, err = openInput(dir); err != nil {
		return nil, err
	}
	err = flock(in.lock, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrInputTaken
	}
	if err == nil {
		in.fifo, err = openInput(dir)
	}
	if err != nil {
		return nil, errors.Join(err, in.lock.Close())
	}
	return &in, nil
}

func openInput(dir string) (*os.File, error) {
	f, err := os.OpenFile(logfile.Input(dir), os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("the task's input: %w: %w", err, errdefs.ErrFailedPrecondition)
	}
	return f, nil
}

func flock(f *os.File, how int) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var locked error
	err = conn.Control(func(fd uintptr) { locked = os.NewSyscallError("flock", unix.Flock(int(fd), how)) })
	return errors.Join(err, locked)
}

// release lets others have the input. It is idempotent, and nil is no input.
func (in *taskInput) release() error {
	if in == nil {
		return nil
	}
	in.once.Do(func() {
		in.err = in.fifo.Close()
		// Closing is not enough: a child that was forked just now has the file too.
		in.err = errors.Join(in.err, flock(in.lock, unix.LOCK_UN), in.lock.Close())
	})
	return in.err
}

// feeder copies a caller's reader to the input of a task. nil is none.
type feeder struct {
	from  input
	to    *taskInput
	ended chan struct{} // closed when neither is used any more

	once sync.Once
	err  error
}

// newFeeder takes the input of the task whose log is in dir.
func newFeeder(dir string, r io.Reader) (_ *feeder, err error) {
	f := &feeder{ended: make(chan struct{})}
	if f.to, err = takeInput(dir); err != nil {
		return nil, err
	}
	if f.from, err = newInput(r); err != nil {
		return nil, errors.Join(err, f.to.release())
	}
	return f, nil
}

// discard releases a feeder that was not started.
func (f *feeder) discard() error {
	if f == nil {
		return nil
	}
	return errors.Join(f.from.stop(), f.from.release(), f.to.release())
}

// start copies until the reader ends, or the feeder is told to. fail is told
// what goes wrong. Whatever ends the copy, others can have the input then.
func (f *feeder) start(fail func(error)) {
	if f == nil {
		return
	}
	go func() {
		defer close(f.ended)
		err := f.copy()
		if err = errors.Join(err, f.to.release(), f.from.release()); err != nil {
			fail(err)
		}
	}()
}

// copy returns nil when the reader ends. An input that nobody reads any more is
// the task's end, which the log tells in its turn.
func (f *feeder) copy() error {
	buffer := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buffer)
	for {
		n, err := f.from.Read(buffer[:])
		if n > 0 {
			_, err := f.to.fifo.Write(buffer[:n])
			switch {
			case errors.Is(err, os.ErrClosed), errors.Is(err, unix.EPIPE):
				return nil
			case err != nil:
				return fmt.Errorf("writing the task's input: %w", err)
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, os.ErrClosed):
			return nil
		case err != nil:
			return fmt.Errorf("reading what is for the task's input: %w", err)
		}
	}
}

// end stops the copy and lets others have the input. It is idempotent.
func (f *feeder) end(s *DefaultService) error {
	if f == nil {
		return nil
	}
	f.once.Do(func() {
		err := f.from.stop()
		if !f.from.stuck() {
			// What was read already is still written, if the task takes it.
			s.await(f.ended, abandonLimit)
		}
		f.err = errors.Join(err, f.to.release())
		if !f.from.stuck() {
			s.await(f.ended, releaseLimit)
		}
	})
	return f.err
}
