package containerd

import (
	"cmp"
	"context"
	"fmt"
	"time"

	tasktypes "github.com/containerd/containerd/api/types/task"
)

const (
	// drainLimit is how long an ended process's output is still read while there
	// is none: a child that outlives it can hold the streams open for ever.
	drainLimit = 2 * time.Second
	// drainStep is the shortest time between two looks at a writer that is slow.
	drainStep = 20 * time.Millisecond
	// leavings is more than an ended process can have left to be read: what the
	// largest pipe holds without privileges, a FIFO and the shim's buffer. All
	// after it is a child's.
	leavings = 2 << 20
)

// finish reads what the ended process has left in its output, for as long as
// is wanted or until ctx ends, and releases everything. It reports whether the
// output had ended.
func (st *streams) finish(ctx context.Context) (drained bool, err error) {
	drained = st.drain(ctx)
	return drained, st.Close()
}

// drain waits for the end of the output, and reports whether it came. It gives
// up when a child of the process holds it open, ctx ends, or the streams or the
// service are closed. What the writers take is not a child's time.
func (st *streams) drain(ctx context.Context) (drained bool) {
	read, limit := st.moved(), cmp.Or(st.want.drain, drainLimit)
	for limit != 0 && !st.givenUp.Load() {
		held := st.held()
		if !st.drainFor(ctx, limit) {
			break
		}
		if st.moved()-read > leavings {
			st.givenUp.Store(true)
			break
		}
		limit = min(max(st.held()-held, 0), limit)
		switch {
		case limit >= drainStep:
		case st.heldUp():
			limit = drainStep
		default:
			st.givenUp.Store(true)
		}
	}
	return isClosed(st.drained)
}

// drainFor waits for the output's end for d, negative for ever. It returns true
// if the time is up.
func (st *streams) drainFor(ctx context.Context, d time.Duration) (elapsed bool) {
	var up <-chan time.Time
	if d >= 0 {
		timer, release := st.service.clock.NewTimer(d)
		defer release()
		up = timer
	}
	select {
	case <-st.drained:
	case <-st.done:
	case <-st.service.closed:
	case <-ctx.Done():
	case <-up:
		return true
	}
	return false
}

// settled says whether there is no more output to be waited for.
func (st *streams) settled() bool {
	return st.givenUp.Load() || isClosed(st.drained) || isClosed(st.done)
}

// outflows returns the output streams that there are.
func (st *streams) outflows() (flows []*outflow) {
	for _, flow := range []*outflow{st.stdout, st.stderr} {
		if flow != nil {
			flows = append(flows, flow)
		}
	}
	return flows
}

// moved returns how much output was read.
func (st *streams) moved() (n int64) {
	for _, flow := range st.outflows() {
		n += flow.read.Load()
	}
	return n
}

// held returns for how long writers have kept the output from being read.
func (st *streams) held() (d time.Duration) {
	for _, flow := range st.outflows() {
		d += flow.held(st.service.clock.Now())
	}
	return d
}

// heldUp says whether a writer keeps the output from being read.
func (st *streams) heldUp() bool {
	for _, flow := range st.outflows() {
		if flow.heldUp() {
			return true
		}
	}
	return false
}

// isClosed says whether a channel on which nothing is sent is closed.
func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// streamsOf returns the streams of a task that are attached to this process, nil
// if there are none.
func streamsOf(p *tasktypes.Process) *streams {
	if st, ok := attachments.Load(fifoDirOf(p)); ok {
		return st.(*streams)
	}
	return nil
}

// drainStreams waits until the output of the ended task p was written. It comes
// before the task's deletion, in which the shim gives up what it still has. A
// writer can take any time: until ctx ends, or the service is closed.
func (s *DefaultService) drainStreams(ctx context.Context, p *tasktypes.Process) error {
	st := streamsOf(p)
	drained := st == nil || st.drain(ctx) || st.settled()
	switch {
	case isClosed(s.closed): // which has ended the streams too
		return errServiceClosed
	case drained:
		return nil
	}
	return fmt.Errorf("the task's output is still being written: %w", ctx.Err())
}

// endStreams releases the streams of a deleted task, if they are ours. Of those
// of another process only the FIFOs remain.
func endStreams(p *tasktypes.Process) error {
	if st := streamsOf(p); st != nil {
		return st.Close()
	}
	if dir := fifoDirOf(p); dir != "" {
		return removeFIFODir(dir)
	}
	return nil
}
