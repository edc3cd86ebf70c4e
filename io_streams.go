package containerd

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
)

const (
	// drainLimit is how long an ended process's output is still read: a child
	// that outlives it can hold the streams open for ever.
	drainLimit = 2 * time.Second
	// releaseLimit is how long released streams are waited for: a copy that is
	// stuck in writing to this process's own output can't be interrupted.
	releaseLimit = 250 * time.Millisecond
	copyBuffer   = 64 << 10
	// endOfTransmission, typed at a terminal, ends the input: the first ends a
	// line that was begun.
	endOfTransmission = "\x04\x04"
)

// streams binds a process in a container to this process's own streams,
// through FIFOs in a directory of their own. It is the process's cio.IO.
type streams struct {
	service             *DefaultService
	containerID, execID string

	wanted TaskIO // what a task's streams were asked for with
	dir    string
	pipes  *cio.DirectIO
	stdin  *stdinReader

	ctx     context.Context // ends when the streams are released
	cancel  context.CancelFunc
	started chan struct{} // closed when the process has been started
	drained chan struct{} // closed when the output has ended
	idle    chan struct{} // closed when every goroutine has ended
	done    chan struct{} // closed when everything is released

	startOnce, releaseOnce sync.Once
	feedErr, releaseErr    error
}

// attachments are the streams of this process, by directory.
var attachments sync.Map

// openStreams makes the FIFOs and starts to copy. The caller, or the cio.IO's
// user, closes the streams.
func (s *DefaultService) openStreams(ctx context.Context, want stdio, containerID, execID string) (_ *streams, err error) {
	dir, err := s.makeFIFODir(want.dir)
	if err != nil {
		return nil, err
	}
	config := cio.Config{
		Terminal: want.terminal,
		Stdin:    filepath.Join(dir, fifoNames[0]),
		Stdout:   filepath.Join(dir, fifoNames[1]),
	}
	if !want.terminal {
		config.Stderr = filepath.Join(dir, fifoNames[2])
	}
	st := &streams{
		service: s, containerID: containerID, execID: execID,
		dir:     dir,
		started: make(chan struct{}),
		drained: make(chan struct{}),
		idle:    make(chan struct{}),
		done:    make(chan struct{}),
	}
	if st.stdin, err = newStdinReader(os.Stdin); err != nil {
		return nil, errors.Join(err, removeFIFODir(dir))
	}
	st.ctx, st.cancel = context.WithCancel(context.WithoutCancel(ctx))
	st.pipes, err = cio.NewDirectIO(st.ctx, cio.NewFIFOSet(config, func() error { return removeFIFODir(dir) }))
	if err != nil {
		st.cancel()
		return nil, errors.Join(err, removeFIFODir(dir), st.stdin.stop(), st.stdin.release())
	}
	attachments.Store(dir, st)
	st.copy(os.Stdout, os.Stderr)
	return st, nil
}

// copy starts one goroutine per stream.
func (st *streams) copy(stdout, stderr io.Writer) {
	var output, all sync.WaitGroup
	output.Go(func() { copyOutput(stdout, st.pipes.Stdout) })
	if st.pipes.Stderr != nil {
		output.Go(func() { copyOutput(stderr, st.pipes.Stderr) })
	}
	all.Go(st.feed)
	all.Go(func() {
		output.Wait()
		close(st.drained)
	})
	go func() {
		all.Wait()
		close(st.idle)
	}()
}

// copyOutput reads until the stream ends. If the writer fails, it goes on
// reading, so that the process in the container does not block.
func copyOutput(w io.Writer, r io.Reader) {
	buffer := make([]byte, copyBuffer)
	// Hide the methods that would take a slower way around the buffer.
	if _, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, buffer); err != nil {
		if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, buffer); err != nil {
			return // the stream was closed
		}
	}
}

// feed copies this process's input, and passes its end on once the process has
// been started: the shim holds the FIFO open too, so closing it is not enough.
func (st *streams) feed() {
	defer func() { st.feedErr = st.stdin.release() }()
	_, err := io.CopyBuffer(struct{ io.Writer }{st.pipes.Stdin}, st.stdin, make([]byte, copyBuffer))
	if err != nil && st.ctx.Err() != nil {
		return
	}
	select {
	case <-st.started:
	case <-st.ctx.Done():
		return
	}
	if st.pipes.Config().Terminal {
		// Closing the shim's end would hang the terminal up.
		if _, err := io.WriteString(st.pipes.Stdin, endOfTransmission); err != nil {
			return // the process has ended
		}
		return
	}
	if err := st.pipes.Stdin.Close(); err != nil {
		return
	}
	st.closeInput()
}

// closeInput makes the shim close its end of stdin. Any error but a lost
// connection means that there is no process to read it any more.
func (st *streams) closeInput() {
	for {
		_, err := st.service.client.TaskService().CloseIO(st.ctx, &tasks.CloseIORequest{
			ContainerID: st.containerID, ExecID: st.execID, Stdin: true,
		})
		if err == nil || !errdefs.IsUnavailable(native(err)) {
			return
		}
		if st.service.pause(st.ctx, waitPause) != nil {
			return
		}
	}
}

// begin tells the streams that their process has been started.
func (st *streams) begin() { st.startOnce.Do(func() { close(st.started) }) }

// finish reads what the ended process has left in its output, for at most
// drainLimit or until ctx ends, and releases everything. It reports whether
// the output had ended.
func (st *streams) finish(ctx context.Context) (drained bool, err error) {
	limit, release := st.service.clock.NewTimer(drainLimit)
	defer release()
	select {
	case <-st.drained:
	case <-st.done:
	case <-limit:
	case <-ctx.Done():
	}
	select {
	case <-st.drained:
		drained = true
	default:
	}
	return drained, st.Close()
}

// Config returns the paths of the FIFOs.
func (st *streams) Config() cio.Config { return st.pipes.Config() }

// Cancel does nothing: Close also ends an opening that waits.
func (st *streams) Cancel() {}

// Wait returns when the output has ended, or the streams are released.
func (st *streams) Wait() {
	select {
	case <-st.drained:
	case <-st.done:
	}
}

// Close releases the FIFOs, their directory and the goroutines. It may be
// called more than once.
func (st *streams) Close() error {
	st.releaseOnce.Do(func() {
		defer close(st.done)
		attachments.Delete(st.dir)
		st.cancel()
		err := errors.Join(st.stdin.stop(), ignoreClosed(st.pipes.Close()))
		limit, release := st.service.clock.NewTimer(releaseLimit)
		defer release()
		select {
		case <-st.idle:
			err = errors.Join(err, st.feedErr)
		case <-limit:
		}
		st.releaseErr = err
	})
	<-st.done
	return st.releaseErr
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// endStreams ends the streams of a deleted task, if they are ours: those of
// this process are drained first, of another process's only the FIFOs remain.
func endStreams(ctx context.Context, p *tasktypes.Process) error {
	dir := filepath.Dir(p.GetStdout())
	if _, ours := fifoDirOwner(dir); !ours {
		return nil
	}
	if st, ok := attachments.Load(dir); ok {
		_, err := st.(*streams).finish(ctx)
		return err
	}
	return removeFIFODir(dir)
}
