package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/pkg/cio"
)

const (
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
	givenUp                atomic.Bool // output that does not end is no longer waited for
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
		st.stdout = st.outflow(stdout)
		output.Go(func() { st.stdout.run(st.pipes.Stdout) })
	}
	if st.pipes.Stderr != nil {
		st.stderr = st.outflow(stderr)
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

func (st *streams) outflow(w io.Writer) *outflow {
	return &outflow{writer: w, now: st.service.clock.Now}
}

// begin tells the streams that their process has been started.
func (st *streams) begin() { st.startOnce.Do(func() { close(st.started) }) }

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
	for _, flow := range st.outflows() {
		st.await(flow.mute(), releaseLimit)
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
