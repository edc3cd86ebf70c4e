package containerd

import (
	"context"
	"fmt"

	tasktypes "github.com/containerd/containerd/api/types/task"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd/internal/logfile"
)

// StartTaskOptions says how [Service.StartTask] wires the task. nil and the
// zero value are the same: no stdio, the output is discarded.
type StartTaskOptions struct {
	// UseStdio binds the task to this process's own stdin, stdout and stderr,
	// until it ends or the service is closed; what it writes after that has no
	// reader. Its output has been written when [Service.DeleteTask] has returned
	// nil, as with [StreamIO]. The streams are looked up when the task starts.
	// This process's terminal modes and window size are the caller's matter.
	UseStdio bool
	// Terminal gives the task a terminal. It is stored in the container's
	// spec, and also on if the spec asks for it already. Without UseStdio the
	// terminal's output is discarded.
	Terminal bool
	// FIFODir is the absolute path of the directory in which the FIFOs of
	// UseStdio get a directory of their own. It is made if it is absent, and
	// stays. "" means one below this user's runtime directory. It is ignored
	// without UseStdio.
	FIFODir string
}

// StartTask creates and starts the task of the container containerID, and
// returns it running. A stopped old task is replaced, when its output has been
// written, as [DefaultService.DeleteTask] waits for. Without UseStdio the task has
// no part in this process: it never blocks on its output, and goes on when this
// process ends.
//
// It returns a not-found error if the container does not exist or its
// executable does not, an already-exists error if there is a task that has not
// stopped, an invalid-argument error for a bad FIFODir or a missing working
// directory, and a permission-denied error for a file that can't be executed.
// If it fails, or ctx ends before the task has been started, no task, shim or
// FIFO is left, and the stored spec is what it was, or the error says what
// remains.
func (s *DefaultService) StartTask(ctx context.Context, containerID string, opts *StartTaskOptions) (containerd.Task, error) {
	const op = "start task"
	if opts == nil {
		opts = &StartTaskOptions{}
	}
	req := LaunchTaskRequest{IO: DiscardIO{}, Terminal: opts.Terminal}
	if opts.UseStdio {
		req.IO = StdIO{FIFODir: opts.FIFODir}
	}
	err := firstError(checkID("containerID", containerID), req.IO.check(req.Terminal))
	if err == nil {
		ctx, err = s.begin(ctx)
	}
	if err != nil {
		return nil, opError(ctx, op, containerID, err)
	}
	task, err := s.startTask(ctx, containerID, req)
	if err != nil {
		return nil, opError(ctx, op, containerID, err)
	}
	return s.scope().task(task), nil
}

func (s *DefaultService) startTask(ctx context.Context, id string, req LaunchTaskRequest) (containerd.Task, error) {
	return s.start(ctx, &starting{service: s, id: id, req: req})
}

func (s *DefaultService) start(ctx context.Context, st *starting) (containerd.Task, error) {
	unlock, err := s.lockID(ctx, st.id)
	if err != nil {
		return nil, err
	}
	defer unlock()
	lasting, cancel := outlive(ctx)
	defer cancel()
	task, err := st.run(ctx, lasting)
	if err != nil {
		return nil, s.takeBack(lasting, st.id, &st.undo, startError(endedBy(ctx, err)))
	}
	return task, nil
}

// starting is one start of a task. Its requests that make something are not
// cut short when the call's context ends, so that what they made is known.
type starting struct {
	service *DefaultService
	id      string
	req     LaunchTaskRequest
	hasOld  bool // there is an old task, as far as the caller knows
	undo    undo

	terminal bool
	pending  bool          // the task was asked for, and may exist
	config   cio.Config    // of the streams asked for, which no other task has
	streams  *streams      // nil unless attached
	logDir   string        // of a LogIO
	logOwner logfile.Owner // of that log
	marked   string        // the directory that a FileIO leads through
}

func (st *starting) run(ctx, lasting context.Context) (containerd.Task, error) {
	s := st.service
	record, err := s.load(ctx, st.id)
	if err != nil {
		return nil, err
	}
	if record, err = st.setTerminal(lasting, record); err != nil {
		return nil, err
	}
	if record, err = st.setLogDir(lasting, record); err != nil {
		return nil, err
	}
	task, err := st.create(ctx, lasting, record)
	if err != nil {
		return nil, err
	}
	if err := firstError(ctx.Err(), st.checkLogger()); err != nil {
		return nil, err
	}
	if err := task.Start(lasting); err != nil {
		return nil, err
	}
	if st.streams != nil {
		st.streams.begin()
		if err := s.watch(st.streams); err != nil {
			return nil, err
		}
	}
	return task, st.unmark()
}

// setTerminal decides on the terminal, and turns it on in the stored spec where
// only the options ask for it.
func (st *starting) setTerminal(ctx context.Context, record containers.Container) (containers.Container, error) {
	inSpec, err := specTerminal(record.Spec)
	if err != nil {
		return record, err
	}
	st.terminal = st.req.Terminal || inSpec
	if err := st.req.IO.check(st.terminal); err != nil {
		return record, err
	}
	if st.terminal && !inSpec {
		return st.storeTerminal(ctx, record)
	}
	return record, nil
}

// create makes the task, after removing an old one if the daemon says that there
// is one, and again if the daemon has removed what it had made of it.
func (st *starting) create(ctx, lasting context.Context, record containers.Container) (containerd.Task, error) {
	s := st.service
	c, store, err := s.recorded(ctx, record)
	if err != nil {
		return nil, err
	}
	st.undo.push("streams", func(context.Context) error { return st.closeStreams() })
	st.undo.push("task", st.remove)
	for try := 1; ; try++ {
		task, err := c.NewTask(lasting, st.open(ctx))
		if err == nil {
			store.open()
			return task, nil
		}
		if err := st.closeStreams(); err != nil {
			return nil, err
		}
		switch occupied := isOccupied(err); {
		case occupied && try == retryLimit:
			st.pending = false
			return nil, fmt.Errorf("%s: %w", trimClass(err), errdefs.ErrAlreadyExists)
		case !occupied && (try == retryLimit || !isSwept(err)):
			return nil, err
		}
		st.pending = false
		if err := s.makeRoom(ctx, st.id); err != nil {
			return nil, err
		}
	}
}

// open returns the creator of the task's streams. An old task that is known of
// is removed once they are there: if they can't be made, it stays.
func (st *starting) open(ctx context.Context) cio.Creator {
	return func(string) (cio.IO, error) {
		opened, err := st.req.IO.open(ctx, st)
		if err != nil {
			return nil, err
		}
		st.streams, _ = opened.(*streams)
		if st.hasOld {
			if err := st.removeOld(ctx); err != nil {
				return nil, err
			}
		}
		st.config, st.pending = opened.Config(), true
		return opened, nil
	}
}

// removeOld removes the old task, if it is still there.
func (st *starting) removeOld(ctx context.Context) error {
	p, err := st.service.process(ctx, st.id, "")
	if err == nil {
		err = st.service.replaceOld(ctx, st.id, p)
	}
	if err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	st.hasOld = false
	return nil
}

func (st *starting) closeStreams() error {
	if st.streams != nil {
		return st.streams.Close()
	}
	return st.unmark()
}

// unmark removes the directory that says whose a task with files is.
func (st *starting) unmark() error {
	if st.marked == "" {
		return nil
	}
	dir := st.marked
	st.marked = ""
	return removeFIFODir(dir)
}

// remove is the undo step of the task: it removes the one that this start made.
func (st *starting) remove(ctx context.Context) error {
	if !st.pending {
		return nil
	}
	s := st.service
	p, err := s.process(ctx, st.id, "")
	if err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	if err == nil {
		if !st.made(p) {
			return nil
		}
		if p.GetStatus() != tasktypes.Status_STOPPED {
			if err := s.killAndWait(ctx, st.id, p.GetStatus()); err != nil {
				return err
			}
		}
	}
	return s.deleteRecordOfTask(ctx, st.id)
}

// made tells whether p is the task that this start made.
func (st *starting) made(p *tasktypes.Process) bool {
	return p.GetStdout() == st.config.Stdout && p.GetStderr() == st.config.Stderr
}
