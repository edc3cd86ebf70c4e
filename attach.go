package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ctrdkit/containerd/internal/logfile"
)

// ErrInputTaken is what [Attacher.AttachTask] returns when another attachment,
// of any process, writes to the task's input. It is a failed-precondition error.
var ErrInputTaken = fmt.Errorf("another attachment writes to the task's input: %w", errdefs.ErrFailedPrecondition)

// AttachTaskRequest says what [Attacher.AttachTask] connects.
type AttachTaskRequest struct {
	// Stdout and Stderr get the output, byte for byte; nil discards that stream.
	// They may be the same, and are never written to at the same time. A writer
	// that blocks delays only this attachment.
	Stdout, Stderr io.Writer
	// Stdin is copied to the task's input, which one attachment at a time may
	// do. Its end is not the input's end: other attachments may follow. A Read
	// that blocks can't be ended; its goroutine ends with it. nil leaves the
	// input to others.
	Stdin io.Reader
	// Tail is the number of lines of the log to begin with; 0 means none, only
	// what comes from now on, and a negative number means all.
	Tail int
}

// Attachment is a connection to a running task. The caller ends it with Detach
// or waits for its end. Its methods are safe for concurrent use.
type Attachment interface {
	// Wait returns when the task has ended and all its output was delivered: nil
	// then, else what went wrong, such as a writer's error, or context.Canceled
	// after Detach. If ctx ends first, it returns ctx's error, and the attachment
	// goes on.
	Wait(ctx context.Context) error
	// Detach ends the attachment and returns when nothing is written any more,
	// that is after a Write that is under way. The task is not disturbed. It is
	// idempotent.
	Detach() error
	// Resize changes the size of the task's terminal, in characters.
	Resize(ctx context.Context, width, height uint32) error
}

// AttachTask connects to the running task of the container containerID, which
// was started with [LogIO], by this or any other process. Any number of
// attachments get the same bytes. Everything that the task writes after
// AttachTask has returned is delivered. ctx bounds only the call.
//
// It returns a not-found error if the container does not exist, a
// failed-precondition error if it has no log or no running task, or a Stdin is
// given and the task has no input, and [ErrInputTaken].
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
	p, err := s.process(ctx, id, "")
	switch {
	case err != nil:
		return nil, err
	case p.GetStatus() == tasktypes.Status_STOPPED:
		return nil, wrongState(p.GetStatus())
	}
	config, ok := logfile.ParseAddress(p.GetStdout())
	if !ok {
		return nil, fmt.Errorf("the task was not started with LogIO: %w", errdefs.ErrFailedPrecondition)
	}
	life, cancel := s.untilClosed(context.WithoutCancel(ctx))
	a := &attachment{service: s, id: id, cancel: cancel, done: make(chan struct{})}
	defer func() {
		if err != nil {
			cancel()
			err = errors.Join(err, a.releaseInput())
		}
	}()
	if req.Stdin != nil {
		if p.GetStdin() == "" {
			return nil, fmt.Errorf("the task has no input: %w", errdefs.ErrFailedPrecondition)
		}
		if a.input, err = takeInput(config.Dir); err != nil {
			return nil, err
		}
	}
	tail := max(0, req.Tail) // the reader's 0 means all
	if req.Tail == 0 {
		tail = -1
	}
	w := s.startWait(life, id, "")
	log, err := openWithin(ctx, life, config.Dir, logfile.ReadOptions{Follow: true, Tail: tail, Ended: w.done})
	if err != nil {
		w.stop()
		return nil, err
	}
	if req.Stdin != nil {
		go a.feed(req.Stdin)
	}
	go a.run(life, log, w, req)
	return a, nil
}

// openWithin opens a log whose reading may outlive ctx, within ctx.
func openWithin(ctx, life context.Context, dir string, opts logfile.ReadOptions) (*logfile.Log, error) {
	log, err := logfile.Open(ctx, dir, opts)
	if err == nil && life.Err() != nil {
		err = errors.Join(context.Cause(life), log.Close())
	}
	return log, err
}

// attachment copies one log to writers, and a reader to one input.
type attachment struct {
	service *DefaultService
	id      string
	cancel  context.CancelFunc
	done    chan struct{}
	err     error // set when done is closed

	input     *os.File // nil unless it writes to the task's input
	inputOnce sync.Once
	inputErr  error
}

func (a *attachment) run(ctx context.Context, log *logfile.Log, w *waiting, req AttachTaskRequest) {
	defer close(a.done)
	defer a.cancel()
	defer w.stop()
	err := copyLog(ctx, log, req)
	a.err = errors.Join(err, a.releaseInput())
}

// copyLog delivers a log's bytes.
func copyLog(ctx context.Context, log *logfile.Log, req AttachTaskRequest) error {
	writers := map[logfile.Stream]io.Writer{logfile.Stdout: req.Stdout, logfile.Stderr: req.Stderr}
	for e, err := range log.All(ctx) {
		if err != nil {
			return err
		}
		w := writers[e.Stream]
		if w == nil {
			continue
		}
		if _, err := w.Write(e.Data); err != nil {
			return fmt.Errorf("writing the task's %s: %w", e.Stream, err)
		}
	}
	return nil
}

// takeInput opens the input of a task, which nobody else may have open then.
func takeInput(dir string) (*os.File, error) {
	f, err := os.OpenFile(logfile.Input(dir), os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("the task's input: %w: %w", err, errdefs.ErrFailedPrecondition)
	}
	var locked error
	conn, err := f.SyscallConn()
	if err == nil {
		err = conn.Control(func(fd uintptr) { locked = unix.Flock(int(fd), unix.LOCK_EX|unix.LOCK_NB) })
	}
	switch {
	case err != nil:
	case errors.Is(locked, unix.EWOULDBLOCK):
		err = ErrInputTaken
	default:
		err = locked
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// feed copies the caller's input until its end or the attachment's.
func (a *attachment) feed(r io.Reader) {
	_, err := io.Copy(struct{ io.Writer }{a.input}, r)
	if err == nil || errors.Is(err, os.ErrClosed) {
		return
	}
	a.cancel() // the attachment ends with what it can't do
}

func (a *attachment) releaseInput() error {
	a.inputOnce.Do(func() {
		if a.input != nil {
			a.inputErr = a.input.Close()
		}
	})
	return a.inputErr
}

// Wait waits for the end of the attachment.
func (a *attachment) Wait(ctx context.Context) error {
	const op = "wait for attachment"
	select {
	case <-a.done:
		return opError(ctx, op, a.id, a.err)
	case <-ctx.Done():
		return opError(ctx, op, a.id, ctx.Err())
	}
}

// Detach ends the attachment.
func (a *attachment) Detach() error {
	a.cancel()
	<-a.done
	return opError(context.Background(), "detach", a.id, a.releaseInput())
}

// Resize changes the size of the task's terminal.
func (a *attachment) Resize(ctx context.Context, width, height uint32) error {
	const op = "resize terminal"
	ctx, err := a.service.begin(ctx)
	if err == nil {
		_, err = a.service.client.TaskService().ResizePty(ctx, &tasks.ResizePtyRequest{ContainerID: a.id, Width: width, Height: height})
	}
	return opError(ctx, op, a.id, native(err))
}
