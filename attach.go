package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd/internal/logfile"
)

// ErrInputTaken is what [Attacher.AttachTask] returns when another attachment,
// of any process, writes to the task's input. It is a failed-precondition error.
var ErrInputTaken = fmt.Errorf("another attachment writes to the task's input: %w", errdefs.ErrFailedPrecondition)

// ErrOutputLost is wrapped by the error of [Attachment.Wait] when the log does not
// have everything that the task has written: its logger could not write it, or
// it was removed before the attachment got to it. It is of the class
// errdefs.IsDataLoss.
var ErrOutputLost = fmt.Errorf("output of the task was lost: %w", errdefs.ErrDataLoss)

// AttachTaskRequest says what [Attacher.AttachTask] connects.
type AttachTaskRequest struct {
	// Stdout and Stderr get the output, byte for byte; nil discards that stream.
	// They may be the same, and are never written to at the same time. A writer
	// that blocks delays only this attachment.
	Stdout, Stderr io.Writer
	// Stdin is copied to the task's input, which one attachment at a time may
	// do. Its end is not the input's end: this attachment goes on without one, and
	// others may write. Its error ends the attachment. An *os.File, such as
	// os.Stdin, is not read any more when the attachment has ended: what comes
	// then is the caller's. A Read of another reader can't be ended: its
	// goroutine ends with it, and what it brings is dropped. nil leaves the input
	// to others.
	Stdin io.Reader
	// Tail is the number of lines of the log to begin with; 0 means none, only
	// what comes from now on, and a negative number means all.
	Tail int
}

// Attachment is a connection to a running task. The caller ends it with Detach
// or waits for its end. Its methods are safe for concurrent use.
type Attachment interface {
	// Wait returns when the task has ended and all its output was delivered: nil
	// then, else what went wrong, such as a writer's or the reader's error,
	// context.Canceled after Detach, or a failed-precondition error when the
	// service was closed. If some of the output was lost, the rest is delivered,
	// and the error wraps [ErrOutputLost] too. If ctx ends first, Wait returns
	// ctx's error, and the attachment goes on.
	Wait(ctx context.Context) error
	// Detach ends the attachment and returns when nothing is written any more,
	// that is after a Write that is under way. The task is not disturbed. It is
	// idempotent.
	Detach() error
	// Resize changes the size of the task's terminal, in characters. It returns a
	// failed-precondition error if the task has none, and an invalid-argument
	// error for a size that is not between 1 and 65535.
	Resize(ctx context.Context, width, height uint32) error
}

// AttachTask connects to the running task of the container containerID, which
// was started with [LogIO], by this or any other process. Any number of
// attachments get the same bytes. Everything that the task writes after
// AttachTask has returned is delivered. ctx bounds only the call. Closing the
// service ends the attachment, and waits for a Write that is under way, for 2
// seconds at most.
//
// It returns a not-found error if the container does not exist, a
// failed-precondition error if it has no running task ([ErrNotRunning]) or no
// log, or a Stdin is given and the task has no input, and [ErrInputTaken]. A
// paused task can be attached to.
func (s *DefaultService) AttachTask(ctx context.Context, containerID string, req AttachTaskRequest) (Attachment, error) {
	const op = "attach task"
	err := checkID("containerID", containerID)
	if err == nil {
		ctx, err = s.begin(ctx)
	}
	if err != nil {
		return nil, opError(ctx, op, containerID, err)
	}
	a, err := s.attachTask(ctx, containerID, req)
	if err != nil {
		return nil, opError(ctx, op, containerID, err)
	}
	return a, nil
}

func (s *DefaultService) attachTask(ctx context.Context, id string, req AttachTaskRequest) (_ *attachment, err error) {
	p, dir, err := s.attachable(ctx, id)
	if err != nil {
		return nil, err
	}
	life, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	a := &attachment{service: s, id: id, terminal: p.GetTerminal(), cancel: cancel, done: make(chan struct{})}
	if !s.watchers.start(a.endWithService) {
		cancel(nil)
		return nil, errServiceClosed
	}
	defer func() {
		if err != nil {
			cancel(nil)
			err = errors.Join(err, a.feeder.discard())
			close(a.done)
		}
	}()
	if req.Stdin != nil {
		if p.GetStdin() == "" {
			return nil, fmt.Errorf("the task has no input: %w", errdefs.ErrFailedPrecondition)
		}
		if a.feeder, err = newFeeder(dir, req.Stdin); err != nil {
			return nil, err
		}
	}
	w := s.startWaitFor(life, waited{containerID: id, pid: p.GetPid()})
	log, err := openWithin(ctx, life, dir, logfile.ReadOptions{Follow: true, Tail: tailOf(req), Ended: w.done})
	if err != nil {
		w.stop()
		return nil, err
	}
	a.feeder.start(cancel)
	go a.run(life, log, w, req)
	return a, nil
}

// attachable returns the process of a task that runs, or would if it were
// resumed, and the directory of its log.
func (s *DefaultService) attachable(ctx context.Context, id string) (p *tasktypes.Process, dir string, err error) {
	p, err = s.process(ctx, id, "")
	switch {
	case errdefs.IsNotFound(err):
		if _, err := s.load(ctx, id); err != nil {
			return nil, "", err
		}
		return nil, "", fmt.Errorf("no task: %w", ErrNotRunning)
	case err != nil:
		return nil, "", err
	case p.GetStatus() == tasktypes.Status_STOPPED:
		return nil, "", fmt.Errorf("task is %s: %w", statusName(p.GetStatus()), ErrNotRunning)
	}
	config, ok := logfile.ParseAddress(p.GetStdout())
	if !ok {
		return nil, "", fmt.Errorf("the task was not started with LogIO: %w", errdefs.ErrFailedPrecondition)
	}
	return p, config.Dir, nil
}

// tailOf says in a log reader's words with what to begin: its 0 means all.
func tailOf(req AttachTaskRequest) int {
	if req.Tail == 0 {
		return -1
	}
	return max(0, req.Tail)
}

// openWithin opens a log whose reading may outlive ctx, within ctx and life.
func openWithin(ctx, life context.Context, dir string, opts logfile.ReadOptions) (*logfile.Log, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(life, cancel)()
	log, err := logfile.Open(ctx, dir, opts)
	if life.Err() == nil {
		return log, err
	}
	if err == nil {
		err = log.Close()
	}
	if err == nil || isContextError(err) {
		return nil, context.Cause(life)
	}
	return nil, errors.Join(context.Cause(life), err)
}
