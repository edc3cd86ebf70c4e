package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd/internal/logfile"
)

// attachmentGrace is how long a service that is closed waits for an attachment: a
// caller's Write that is under way can't be interrupted.
const attachmentGrace = 2 * time.Second

// attachment copies one log to writers, and a reader to one input.
type attachment struct {
	service  *DefaultService
	id       string
	terminal bool
	feeder   *feeder // nil unless it writes to the task's input
	cancel   context.CancelCauseFunc
	done     chan struct{}
	err      error // set when done is closed
}

// endWithService ends the attachment when the service is closed, which waits for it.
func (a *attachment) endWithService() {
	select {
	case <-a.done:
		return
	case <-a.service.closed:
	}
	a.cancel(errServiceClosed)
	a.service.await(a.done, attachmentGrace)
}

// await waits for a channel to be closed, for limit at most.
func (s *DefaultService) await(ended <-chan struct{}, limit time.Duration) {
	elapsed, release := s.clock.NewTimer(limit)
	defer release()
	select {
	case <-ended:
	case <-elapsed:
	}
}

func (a *attachment) run(ctx context.Context, log *logfile.Log, w *waiting, req AttachTaskRequest) {
	defer close(a.done)
	defer a.cancel(nil)
	defer w.stop()
	lost, err := copyLog(ctx, log, req)
	if err == nil {
		err = awaitTask(ctx, w)
	}
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
		err = cause
	}
	if lost > 0 {
		err = errors.Join(err, fmt.Errorf("%w (%d bytes or more)", ErrOutputLost, lost))
	}
	a.err = errors.Join(err, a.feeder.end(a.service))
}

// awaitTask waits for the end of a task whose log has ended: a task can close its
// output and go on. A wait that failed tells of no end.
func awaitTask(ctx context.Context, w *waiting) error {
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// copyLog delivers a log's bytes, and counts those that are missing in it.
func copyLog(ctx context.Context, log *logfile.Log, req AttachTaskRequest) (lost int64, err error) {
	writers := map[logfile.Stream]io.Writer{logfile.Stdout: req.Stdout, logfile.Stderr: req.Stderr}
	for e, err := range log.All(ctx) {
		if err != nil {
			return lost, err
		}
		if e.Stream == logfile.Lost {
			lost += max(1, logEntry(e).Lost)
			continue
		}
		w := writers[e.Stream]
		if w == nil {
			continue
		}
		if _, err := w.Write(e.Data); err != nil {
			return lost, fmt.Errorf("writing the task's %s: %w", e.Stream, err)
		}
	}
	return lost, nil
}

// Wait waits for the end of the attachment.
func (a *attachment) Wait(ctx context.Context) error {
	const op = "wait for attachment"
	select {
	case <-a.done: // also if ctx has ended
		return opError(ctx, op, a.id, a.err)
	default:
	}
	defer a.service.awaitProcess(a.id, "")()
	select {
	case <-a.done:
		return opError(ctx, op, a.id, a.err)
	case <-ctx.Done():
		return opError(ctx, op, a.id, ctx.Err())
	}
}

// Detach ends the attachment.
func (a *attachment) Detach() error {
	a.cancel(nil)
	<-a.done
	return opError(context.Background(), "detach", a.id, a.feeder.end(a.service))
}

// Resize changes the size of the task's terminal.
func (a *attachment) Resize(ctx context.Context, width, height uint32) error {
	const op = "resize terminal"
	err := checkTerminalSize(width, height)
	if err == nil && !a.terminal {
		err = fmt.Errorf("the task has no terminal: %w", errdefs.ErrFailedPrecondition)
	}
	if err == nil {
		ctx, err = a.service.begin(ctx)
	}
	if err == nil {
		_, err = a.service.client.TaskService().ResizePty(ctx, &tasks.ResizePtyRequest{ContainerID: a.id, Width: width, Height: height})
	}
	return opError(ctx, op, a.id, native(err))
}
