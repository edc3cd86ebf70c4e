package containerd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
)

// Cmd is a command to be run in a container, in the shape of os/exec's. Make
// one with [Command], set its fields, and call one of its methods. It can be
// run once, and is not safe for concurrent use.
type Cmd struct {
	// Args is the program and its arguments.
	Args []string
	// Env is added to the container's environment, as name=value.
	Env []string
	// Dir is the working directory; "" means the container's.
	Dir string
	// User and AdditionalGIDs are those of [StartExecRequest].
	User           string
	AdditionalGIDs []uint32

	// Terminal gives the process a terminal of Width columns and Height rows.
	// Its output is Stdout; Stderr gets nothing.
	Terminal      bool
	Width, Height uint32

	// Stdin is the input; nil means none. A Read that waits when the process
	// ends is not waited for.
	Stdin io.Reader
	// Stdout and Stderr take the output, and may be the same; nil discards it. Of
	// a Stderr that is nil the end is kept for [ExitError].
	Stdout, Stderr io.Writer

	// StopSignal and StopGrace are what happens to the process when the context
	// of Start ends, as in [StartExecRequest]. It is killed at once by default.
	StopSignal syscall.Signal
	StopGrace  time.Duration
	// WaitDelay is how long output is still read that a child of the process
	// holds open after its end. 0 means 2 seconds, negative until it ends. If
	// it is cut off then, Exit.OutputCut is set, and Wait returns [ErrOutputCut].
	WaitDelay time.Duration

	// Exec is the running process, once it was started.
	Exec Exec
	// Exit is how it ended, once it was waited for.
	Exit ExecExit

	executor    Executor
	containerID string

	stderr   *tailBuffer // of a Stderr that is nil
	outputs  []*outputPipe
	inputs   []*inputPipe
	started  bool
	waited   bool
	finished chan struct{} // closed when Exit and waitErr are set; nil without pipes
	waitErr  error
}

// Command returns the command to run a program in the running container
// containerID. x is a service, or a mock of [Executor].
func Command(x Executor, containerID, name string, args ...string) *Cmd {
	return &Cmd{executor: x, containerID: containerID, Args: append([]string{name}, args...)}
}

// ExitError is the error of a command whose process did not end with exit code
// 0. It has no errdefs class: the command did run.
type ExitError struct {
	ExecExit
	// Stderr is what the command wrote to an error stream that nothing else was
	// done with: its beginning and its end, if it was much.
	Stderr []byte
}

// ErrOutputCut is wrapped by the error of a command that ended with exit code 0,
// but whose output was cut off after WaitDelay, since a child of it held it open.
// It wraps [exec.ErrWaitDelay], and is of the class errdefs.IsDataLoss.
var ErrOutputCut = fmt.Errorf("output was cut off: %w: %w", exec.ErrWaitDelay, errdefs.ErrDataLoss)

// Error returns the exit code, or the signal, in one line.
func (e *ExitError) Error() string {
	switch {
	case e.OOMKilled:
		return fmt.Sprintf("signal: %v (out of memory)", e.Signal)
	case e.Signal != 0:
		return fmt.Sprintf("signal: %v", e.Signal)
	}
	return fmt.Sprintf("exit status %d", e.Code)
}

// Run starts the command and waits for it to end. Its errors are those of
// Start and Wait.
func (c *Cmd) Run(ctx context.Context) error {
	if err := c.Start(ctx); err != nil {
		return err
	}
	return c.Wait()
}

// Output runs the command and returns what it wrote to stdout, also with an
// error.
func (c *Cmd) Output(ctx context.Context) ([]byte, error) {
	if c.Stdout != nil {
		return nil, c.misuse("Stdout is set")
	}
	var stdout bytes.Buffer
	c.Stdout = &stdout
	err := c.Run(ctx)
	return stdout.Bytes(), err
}

// CombinedOutput runs the command and returns what it wrote to stdout and
// stderr, also with an error. What it wrote to one after the other may be in
// another order.
func (c *Cmd) CombinedOutput(ctx context.Context) ([]byte, error) {
	if c.Stdout != nil || c.Stderr != nil {
		return nil, c.misuse("Stdout or Stderr is set")
	}
	var both bytes.Buffer
	c.Stdout, c.Stderr = &both, &both
	err := c.Run(ctx)
	return both.Bytes(), err
}

// Start starts the command. ctx governs its life: when it ends, the process is
// stopped as StopSignal and StopGrace say, and removed. The caller calls Wait.
//
// Its errors are those of [Executor.StartExec]; test them with
// [ErrExecutableNotFound], [ErrWorkDirNotFound], [ErrUserNotFound] and
// [ErrNotRunning], or by class.
func (c *Cmd) Start(ctx context.Context) error {
	if c.started {
		return c.misuse("already started")
	}
	c.started = true
	req := StartExecRequest{
		Args: c.Args, Env: c.Env, WorkDir: c.Dir, User: c.User, AdditionalGIDs: c.AdditionalGIDs,
		Terminal: c.Terminal, Width: c.Width, Height: c.Height,
		Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr,
		DrainTimeout: c.WaitDelay, StopSignal: c.StopSignal, StopGrace: c.StopGrace,
	}
	switch {
	case c.Terminal:
		req.Stderr = nil
	case c.Stderr == nil:
		c.stderr = &tailBuffer{}
		req.Stderr = c.stderr
	}
	x, err := c.executor.StartExec(ctx, c.containerID, req)
	if err != nil {
		c.closePipes()
		return err
	}
	c.Exec = x
	if len(c.outputs)+len(c.inputs) > 0 {
		c.finished = make(chan struct{})
		go func() {
			defer close(c.finished)
			c.finish()
		}()
	}
	return nil
}

// Wait waits for the command to end, its output to be written, and its exec to
// be removed. It ends the pipes of StdoutPipe and StderrPipe: read them to
// their end first. What was not read within WaitDelay of Wait and the
// process's end is lost.
//
// It returns an [ExitError] for an exit code other than 0. If the context of
// Start ended first, also while output was still read, the error is that
// context's error, and an ExitError as well. Without an ExitError, an error is
// one of a reader or writer that failed, of [Exec.Wait], or [ErrOutputCut].
func (c *Cmd) Wait() error {
	switch {
	case c.Exec == nil:
		return c.misuse("not started")
	case c.waited:
		return c.misuse("Wait was already called")
	}
	c.waited = true
	for _, p := range c.outputs {
		p.giveUp()
	}
	if c.finished == nil {
		c.finish()
	} else {
		<-c.finished
	}
	if c.Exit.Code == 0 {
		if c.waitErr == nil && c.Exit.OutputCut && c.copies() {
			return &Error{Op: "run command", ID: c.containerID, Err: ErrOutputCut}
		}
		return c.waitErr
	}
	failed := &ExitError{ExecExit: c.Exit}
	if c.stderr != nil {
		failed.Stderr = c.stderr.Bytes()
	}
	if c.waitErr != nil {
		return fmt.Errorf("%w (%w)", c.waitErr, failed)
	}
	return failed
}

// copies says whether output goes to a writer of the caller's. A pipe's reader
// has seen for itself what came, and nobody asked for the error stream's tail.
func (c *Cmd) copies() bool {
	for _, w := range []io.Writer{c.Stdout, c.Stderr} {
		if _, pipe := w.(*outputPipe); w != nil && !pipe {
			return true
		}
	}
	return false
}

// finish waits for the exec. The context that ends it is Start's.
func (c *Cmd) finish() {
	c.Exit, c.waitErr = c.Exec.Wait(context.Background())
	c.closePipes()
}

func (c *Cmd) misuse(what string) error {
	return &Error{Op: "run command", ID: c.containerID, Err: fmt.Errorf("%s: %w", what, errdefs.ErrFailedPrecondition)}
}

// StdinPipe returns a pipe to the command's input. Closing it ends the input.
// When the command has ended, writes fail. It is to be called before Start.
func (c *Cmd) StdinPipe() (io.WriteCloser, error) {
	if c.started || c.Stdin != nil {
		return nil, c.misuse("Stdin is set, or the command was started")
	}
	r, w := io.Pipe()
	p := &inputPipe{r}
	c.inputs = append(c.inputs, p)
	c.Stdin = p
	return w, nil
}

// StdoutPipe returns a pipe from the command's output, to be read to its end
// before Wait is called. It is to be called before Start.
//
// Closing the pipe early discards the rest of the output, and is no error. The
// process does not notice, unlike one of os/exec: the daemon's shim holds its
// output open, and there is no SIGPIPE. End the context of Start, or call Signal
// of Exec, for a process that does not end by itself.
func (c *Cmd) StdoutPipe() (io.ReadCloser, error) { return c.outputPipe(&c.Stdout) }

// StderrPipe is StdoutPipe for the error stream.
func (c *Cmd) StderrPipe() (io.ReadCloser, error) { return c.outputPipe(&c.Stderr) }

func (c *Cmd) outputPipe(stream *io.Writer) (io.ReadCloser, error) {
	if c.started || *stream != nil {
		return nil, c.misuse("the stream is set, or the command was started")
	}
	r, w := io.Pipe()
	p := &outputPipe{PipeWriter: w}
	c.outputs = append(c.outputs, p)
	*stream = p
	return r, nil
}

// closePipes ends the pipes of a command that has ended, or never ran.
func (c *Cmd) closePipes() {
	for _, p := range c.outputs {
		p.streamEnded()
	}
	for _, p := range c.inputs {
		if err := p.stopReading(); err != nil {
			return // it returns nil
		}
	}
}
