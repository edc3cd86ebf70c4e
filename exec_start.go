package containerd

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
)

// StartExecRequest describes a process that [Executor.StartExec] starts in a
// running container. What it leaves out is the container's own setting.
type StartExecRequest struct {
	// ID is how the exec is found again, unique in its container. "" means a
	// random one.
	ID string
	// Args is the program and its arguments. Required. A program without a
	// slash is looked up in the container's PATH.
	Args []string
	// Env is added to the container's environment, as name=value; a name that
	// is there already gets the new value.
	Env []string
	// WorkDir is the absolute path of the working directory in the container.
	WorkDir string
	// User is the user, as in an image's configuration: a name or an ID, and
	// after a colon a group, if it is not to be the user's own. Names are looked
	// up in the container's /etc/passwd and /etc/group, as they are in its
	// snapshot, and so are the further groups of the user.
	User string
	// AdditionalGIDs are groups that the process has besides.
	AdditionalGIDs []uint32

	// Terminal gives the process a terminal of Width columns and Height rows; 0
	// for both leaves the size to the runtime. [Exec.Resize] changes it. A
	// terminal has one output stream, Stdout, and no Stderr.
	Terminal      bool
	Width, Height uint32

	// Stdin is the process's input. nil is an input that is at its end.
	//
	// It is read until it ends, the process ends, or [Exec.CloseStdin] is called.
	// What was read and not taken by the process is lost. A Read that waits then
	// is not waited for: it goes on until it returns by itself, unless Stdin is
	// an *os.File, which is no longer read. Stdin is not closed.
	Stdin io.Reader
	// Stdout and Stderr take the process's output; nil discards it. Each is
	// written to by one goroutine at a time, also if both are the same. If a
	// writer fails, the rest of its stream is discarded, and [Exec.Wait] says so.
	Stdout, Stderr io.Writer
	// DrainTimeout is how long output is still read after the process has ended,
	// where a child of it holds the output open; what a writer takes to return is
	// not counted, unless a child goes on writing more than a pipe can hold. 0
	// means 2 seconds, negative until the output ends.
	DrainTimeout time.Duration

	// StopSignal is sent to the process when the context of StartExec ends, and
	// SIGKILL if it still runs after StopGrace. 0 means SIGKILL at once.
	StopSignal syscall.Signal
	// StopGrace is the time between the two. 0 means 10 seconds, negative means
	// that there is no SIGKILL.
	StopGrace time.Duration

	// Detach starts the process and leaves it alone: the end of the context of
	// StartExec does not touch it, there is no input, its output is discarded
	// outside this process, and it goes on when this process ends. Its record,
	// with the exit code, stays until [Exec.Remove] or the end of the container's
	// task. The fields from Stdin to StopGrace can't be combined with it.
	Detach bool
}

// defaultStopGrace is what a StopGrace of 0 means.
const defaultStopGrace = 10 * time.Second

// maxTerminalSize is what the kernel takes for a number of columns or rows.
const maxTerminalSize = math.MaxUint16

// StartExec starts a process in the running container containerID and returns
// it running.
//
// ctx governs the life of the process, as that of exec.CommandContext does: when
// it ends, the process gets req.StopSignal and req.StopGrace, or is killed; then
// it is waited for, its exec is removed, and [Exec.Wait] returns ctx's error.
// Children of the process are not killed. Closing the service kills it at once.
// A process that ends by itself is removed as well, whether or not anybody calls
// Wait. A detached process is not governed by anything; see [StartExecRequest].
//
// It returns a not-found error if the container or the executable does not
// exist ([ErrExecutableNotFound]), an invalid-argument error for a missing
// working directory ([ErrWorkDirNotFound]) or a request that can't be run, a
// permission-denied error for a file that can't be executed, a
// failed-precondition error if the user is unknown ([ErrUserNotFound]) or no
// task is running ([ErrNotRunning]), and an already-exists error if there is an
// exec req.ID. If it fails, no exec is left, or the error says what remains.
func (s *DefaultService) StartExec(ctx context.Context, containerID string, req StartExecRequest) (Exec, error) {
	const op = "start exec"
	err := firstError(checkID("containerID", containerID), checkStartExec(req))
	if err == nil {
		ctx, err = s.begin(ctx)
	}
	if err != nil {
		return nil, opError(ctx, op, containerID, err)
	}
	x, err := s.startExec(ctx, containerID, req)
	if err != nil {
		return nil, opError(ctx, op, containerID, err)
	}
	return x, nil
}

func checkStartExec(req StartExecRequest) error {
	if err := firstError(checkExec(req), checkUser("User", req.User)); err != nil {
		return err
	}
	if req.ID != "" {
		if err := checkID("ID", req.ID); err != nil {
			return err
		}
	}
	sized := req.Width != 0 || req.Height != 0
	switch {
	case !req.Terminal && sized:
		return invalid("Width and Height are for a Terminal")
	case sized:
		if err := checkTerminalSize(req.Width, req.Height); err != nil {
			return err
		}
	}
	switch {
	case req.Terminal && req.Stderr != nil:
		return invalid("Stderr: a terminal has no such stream")
	case slices.Contains(req.AdditionalGIDs, math.MaxUint32):
		return invalid("AdditionalGIDs has %d, which is no group", uint32(math.MaxUint32))
	case req.StopSignal < 0 || req.StopSignal > maxSignal:
		return invalid("StopSignal %d is not between 1 and %d", int(req.StopSignal), maxSignal)
	case req.StopGrace != 0 && req.StopSignal == 0:
		return invalid("StopGrace is for a StopSignal")
	case req.Detach && (req.Stdin != nil || req.Stdout != nil || req.Stderr != nil):
		return invalid("Detach: a detached process has no streams")
	case req.Detach && (req.DrainTimeout != 0 || req.StopSignal != 0):
		return invalid("Detach: DrainTimeout and StopSignal are for a process that is not detached")
	}
	return nil
}

func checkTerminalSize(width, height uint32) error {
	if width < 1 || width > maxTerminalSize || height < 1 || height > maxTerminalSize {
		return invalid("terminal size %dx%d is not between 1 and %d", width, height, maxTerminalSize)
	}
	return nil
}

func (s *DefaultService) startExec(ctx context.Context, containerID string, req StartExecRequest) (Exec, error) {
	e := &executing{service: s, containerID: containerID, execID: req.ID, chosen: req.ID != ""}
	if !e.chosen {
		e.execID = newExecID()
	} else {
		// What a failed call has left of an exec with this ID is finished first.
		unlock, err := s.lockID(ctx, e.lockID())
		if err != nil {
			return nil, err
		}
		defer unlock()
	}
	plan, err := s.planExec(ctx, containerID, req, true)
	if err != nil {
		return nil, err
	}
	e.process = plan.process
	lasting, cancel := outlive(ctx)
	defer cancel()
	life := context.WithoutCancel(ctx)
	if req.Detach {
		life = nil
	}
	if err = e.begin(ctx, lasting, life, execStdio(req)); err == nil {
		handle := &execHandle{
			service: s, containerID: containerID, execID: e.execID, pid: e.pid,
			terminal: req.Terminal, oomKills: plan.oomKills,
		}
		if req.Detach {
			return handle, nil
		}
		x := &attachedExec{execHandle: handle, run: e, request: req, told: make(chan struct{}), done: make(chan struct{})}
		if s.watchers.start(func() { x.supervise(ctx) }) {
			return x, nil
		}
		err = errServiceClosed
	}
	e.stopWait()
	return nil, s.takeBack(lasting, e.lockID(), &e.undo, endedBy(ctx, err))
}

// execStdio says how the streams of a request are wired.
func execStdio(req StartExecRequest) stdio {
	return stdio{
		attached: req.Stdin != nil || req.Stdout != nil || req.Stderr != nil,
		terminal: req.Terminal,
		stdin:    req.Stdin,
		stdout:   req.Stdout,
		stderr:   req.Stderr,
		drain:    req.DrainTimeout,
	}
}

var errServiceClosed = fmt.Errorf("service is closed: %w", errdefs.ErrFailedPrecondition)

// closedError returns errServiceClosed once the service is closed.
func (s *DefaultService) closedError() error {
	if isClosed(s.closed) {
		return errServiceClosed
	}
	return nil
}
