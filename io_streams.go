package containerd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
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
	// abandonLimit is how long a caller's reader is waited for, which may be
	// about to return or to wait for ever.
	abandonLimit = 20 * time.Millisecond
	// endOfTransmission, typed at a terminal, ends the input: the first ends a
	// line that was begun.
	endOfTransmission = "\x04\x04"
)

// streams binds a process in a container to readers and writers of this
// process, through FIFOs in a directory of their own. It is the process's cio.IO.
type streams struct {
	service             *DefaultService
	containerID, execID string
	want                stdio

	wanted         TaskIO // what a task's streams were asked for with
	dir            string
	config         cio.Config // what the shim is told
	pipes          *cio.DirectIO
	input          input // nil if there is none
	stdout, stderr *outflow

	ctx     context.Context // ends when the streams are released
	cancel  context.CancelFunc
	started chan struct{} // closed when the process has been started
	drained chan struct{} // closed when the output has ended
	fed     chan struct{} // closed when the input is no longer read
	idle    chan struct{} // closed when every goroutine has ended
	done    chan struct{} // closed when everything is released

	startOnce, releaseOnce sync.Once
	inputEnded             atomic.Bool // the end of the input has been passed on, or is being
	inputErr               error       // the reader's; readable when fed is closed
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
	st := &streams{
		service: s, containerID: containerID, execID: execID, want: want,
		dir:     dir,
		started: make(chan struct{}),
		drained: make(chan struct{}),
		fed:     make(chan struct{}),
		idle:    make(chan struct{}),
		done:    make(chan struct{}),
	}
	shim, fifos := want.wire(dir)
	st.config = shim
	if fifos.Stdin != "" {
		if st.input, err = newInput(want.stdin); err != nil {
			return nil, errors.Join(err, removeFIFODir(dir))
		}
	}
	st.ctx, st.cancel = context.WithCancel(context.WithoutCancel(ctx))
	st.pipes, err = cio.NewDirectIO(st.ctx, cio.NewFIFOSet(fifos, func() error { return removeFIFODir(dir) }))
	if err != nil {
		st.cancel()
		err = errors.Join(err, removeFIFODir(dir))
		if st.input != nil {
			err = errors.Join(err, st.input.stop(), st.input.release())
		}
		return nil, err
	}
	attachments.Store(dir, st)
	st.copy()
	return st, nil
}

// copy starts one goroutine per stream.
func (st *streams) copy() {
	var output, all sync.WaitGroup
	stdout, stderr := st.want.stdout, st.want.stderr
	if stdout != nil && st.pipes.Stderr != nil && sameWriter(stdout, stderr) {
		locked := &lockedWriter{w: stdout}
		stdout, stderr = locked, locked
	}
	if st.pipes.Stdout != nil {
		st.stdout = &outflow{writer: stdout}
		output.Go(func() { st.stdout.run(st.pipes.Stdout) })
	}
	if st.pipes.Stderr != nil {
		st.stderr = &outflow{writer: stderr}
		output.Go(func() { st.stderr.run(st.pipes.Stderr) })
	}
	all.Go(func() {
		defer close(st.fed)
		if st.input != nil {
			st.feed()
		}
	})
	all.Go(func() {
		output.Wait()
		close(st.drained)
	})
	go func() {
		all.Wait()
		close(st.idle)
	}()
}

// feed copies the input, and passes its end on once the process has been
// started: the shim holds the FIFO open too, so closing it is not enough.
func (st *streams) feed() {
	defer func() { st.feedErr = st.input.release() }()
	st.inputErr = st.copyInput()
	if st.ctx.Err() != nil {
		return
	}
	select {
	case <-st.started:
	case <-st.ctx.Done():
		return
	}
	if st.inputEnded.Swap(true) {
		return
	}
	if st.config.Terminal {
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

// copyInput copies until the input ends or the process takes no more, and
// returns the reader's error.
func (st *streams) copyInput() error {
	buffer := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buffer)
	for {
		n, err := st.input.Read(buffer[:])
		if n > 0 {
			if _, err := st.pipes.Stdin.Write(buffer[:n]); err != nil {
				return nil // there is no reader any more
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, os.ErrClosed):
			return nil
		case err != nil:
			return err
		}
	}
}

// closeInput makes the shim close its end of stdin. Any error but a lost
// connection means that there is no process to read it any more.
func (st *streams) closeInput() {
	for {
		err := st.service.closeIO(st.ctx, st.containerID, st.execID)
		if err == nil || !errdefs.IsUnavailable(err) {
			return
		}
		if st.service.pause(st.ctx, waitPause) != nil {
			return
		}
	}
}

func (s *DefaultService) closeIO(ctx context.Context, containerID, execID string) error {
	_, err := s.client.TaskService().CloseIO(ctx, &tasks.CloseIORequest{ContainerID: containerID, ExecID: execID, Stdin: true})
	return native(err)
}

// endInput ends the input now, whatever its reader does.
func (st *streams) endInput(ctx context.Context) error {
	if st.input == nil || st.inputEnded.Swap(true) {
		return nil
	}
	if err := st.input.stop(); err != nil {
		return err
	}
	if st.config.Terminal {
		_, err := io.WriteString(st.pipes.Stdin, endOfTransmission)
		return err
	}
	if err := ignoreClosed(st.pipes.Stdin.Close()); err != nil {
		return err
	}
	return st.service.closeIO(ctx, st.containerID, st.execID)
}

// begin tells the streams that their process has been started.
func (st *streams) begin() { st.startOnce.Do(func() { close(st.started) }) }

// finish reads what the ended process has left in its output, for as long as
// is wanted or until ctx ends, and releases everything. It reports whether the
// output had ended.
func (st *streams) finish(ctx context.Context) (drained bool, err error) {
	for st.draining(ctx) {
		continue
	}
	select {
	case <-st.drained:
		drained = true
	default:
	}
	return drained, st.Close()
}

// draining waits for the end of the output, for as long as a child of the
// process may hold it open. It is to go on if it was a writer that took the time.
func (st *streams) draining(ctx context.Context) (more bool) {
	var limit <-chan time.Time
	if st.want.drain >= 0 {
		elapsed, release := st.service.clock.NewTimer(cmp.Or(st.want.drain, drainLimit))
		defer release()
		limit = elapsed
	}
	select {
	case <-st.drained:
	case <-st.done:
	case <-st.want.cut:
	case <-limit:
		return st.want.patient && st.heldUp()
	case <-ctx.Done():
	}
	return false
}

// heldUp says whether a writer keeps the output from being read.
func (st *streams) heldUp() bool {
	return st.stdout != nil && st.stdout.heldUp() || st.stderr != nil && st.stderr.heldUp()
}

// failure returns what the readers and writers of released streams have failed
// with. Of those that have not returned nothing is known.
func (st *streams) failure() error {
	var errs []error
	select {
	case <-st.drained:
		for name, flow := range map[string]*outflow{"stdout": st.stdout, "stderr": st.stderr} {
			if flow != nil && flow.err != nil {
				errs = append(errs, fmt.Errorf("writing %s: %w", name, flow.err))
			}
		}
	default:
	}
	select {
	case <-st.fed:
		if st.inputErr != nil {
			errs = append(errs, fmt.Errorf("reading stdin: %w", st.inputErr))
		}
	default:
	}
	return errors.Join(errs...)
}

// mute stops using the readers and writers, but leaves the FIFOs open: a shim
// that is about to open them, and does not find them, loses its process.
func (st *streams) mute() error {
	var err error
	if st.input != nil {
		err = st.input.stop()
	}
	for _, flow := range []*outflow{st.stdout, st.stderr} {
		if flow != nil {
			st.await(flow.mute(), releaseLimit)
		}
	}
	return err
}

// Config returns the addresses of the streams.
func (st *streams) Config() cio.Config { return st.config }

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
		var err error
		if st.input != nil {
			err = st.input.stop()
		}
		err = errors.Join(err, ignoreClosed(st.pipes.Close()))
		if st.await(st.drained, releaseLimit) {
			limit := releaseLimit
			if st.input != nil && st.input.stuck() {
				limit = abandonLimit
			}
			if st.await(st.idle, limit) {
				err = errors.Join(err, st.feedErr)
			}
		}
		st.releaseErr = err
	})
	<-st.done
	return st.releaseErr
}

// await waits for a channel to be closed, for limit at most.
func (st *streams) await(ended <-chan struct{}, limit time.Duration) bool {
	elapsed, release := st.service.clock.NewTimer(limit)
	defer release()
	select {
	case <-ended:
		return true
	case <-elapsed:
		return false
	}
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
	dir := fifoDirOf(p)
	if dir == "" {
		return nil
	}
	if st, ok := attachments.Load(dir); ok {
		_, err := st.(*streams).finish(ctx)
		return err
	}
	return removeFIFODir(dir)
}
