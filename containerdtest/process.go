package containerdtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	eventtypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/containerd/containerd/v2/pkg/protobuf"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

const (
	// dyingTime is how long a killed process still counts as running, as it
	// does on a real machine until it was reaped.
	dyingTime = 2 * time.Millisecond
	// drainTime is how long a shim waits at most for output that a child of a
	// deleted process holds open.
	drainTime = 10 * time.Second

	createFailed = "OCI runtime create failed: runc create failed: unable to start container process: "
	execFailed   = "OCI runtime exec failed: exec failed: unable to start container process: "
)

var errFinished = fmt.Errorf("process already finished: %w", errdefs.ErrNotFound)

// process is a process of a task: its first one, an exec, or a child of these.
type process struct {
	task   *task
	execID string // "" unless it is an exec
	child  bool
	pid    uint32
	inner  int // PID inside the container
	spec   specs.Process
	addr   runtime.IO
	run    Handler // what it does

	ctx    context.Context // ends when the process is killed
	cancel context.CancelFunc
	exited chan struct{} // closed when status is stopped

	// Guarded by the task's mutex.
	status  runtime.Status
	dying   bool
	fatal   syscall.Signal // what it dies of
	exit    runtime.Exit
	traps   map[syscall.Signal]bool
	pending []syscall.Signal
	arrived chan struct{} // has an element when pending may have
	blocked int           // calls that wait for something
	stdio   *stdio

	// What a child has for the streams that are not its parent's.
	in        io.Reader
	out, errs io.Writer
}

var _ runtime.ExecProcess = (*process)(nil)

func (t *task) newProcess(execID string, spec specs.Process, addr runtime.IO) *process {
	ctx, cancel := context.WithCancel(context.Background())
	t.mu.Lock()
	t.innerPIDs++
	inner := t.innerPIDs
	t.mu.Unlock()
	return &process{
		task: t, execID: execID, spec: spec, addr: addr, pid: t.machine.nextPID(), inner: inner,
		ctx: ctx, cancel: cancel, exited: make(chan struct{}),
		status: runtime.CreatedStatus, traps: map[syscall.Signal]bool{}, arrived: make(chan struct{}, 1),
	}
}

// ID returns the exec's ID, or the container's for its first process.
func (p *process) ID() string {
	if p.execID == "" {
		return p.task.id
	}
	return p.execID
}

func (p *process) isInit() bool { return p.execID == "" && !p.child }

// State returns what the daemon is told about the process.
func (p *process) State(context.Context) (runtime.State, error) {
	p.task.mu.Lock()
	defer p.task.mu.Unlock()
	s := runtime.State{
		Status: p.status, Pid: p.pid, ExitStatus: p.exit.Status, ExitedAt: p.exit.Timestamp,
		Stdin: p.addr.Stdin, Stdout: p.addr.Stdout, Stderr: p.addr.Stderr, Terminal: p.addr.Terminal,
	}
	if p.execID != "" && p.status == runtime.CreatedStatus {
		s.Pid = 0
	}
	if p.isInit() && p.task.paused && p.status == runtime.RunningStatus {
		s.Status = runtime.PausedStatus
	}
	return s, nil
}

// Start runs the program.
func (p *process) Start(ctx context.Context) error {
	t := p.task
	t.mu.Lock()
	err := p.canStart()
	t.mu.Unlock()
	if err == nil && p.execID != "" {
		err = p.prepareExec(ctx)
	}
	if err != nil {
		return err
	}
	t.mu.Lock()
	if err := p.canStart(); err != nil {
		t.mu.Unlock()
		return err
	}
	p.begin()
	t.mu.Unlock()
	if p.execID != "" {
		t.machine.publish(t.namespace, runtime.TaskExecStartedEventTopic, &eventtypes.TaskExecStarted{ContainerID: t.id, ExecID: p.execID, Pid: p.pid})
	} else {
		t.machine.publish(t.namespace, runtime.TaskStartEventTopic, &eventtypes.TaskStart{ContainerID: t.id, Pid: p.pid})
	}
	p.launch()
	return nil
}

// prepareExec does for an exec what creation does for a first process.
func (p *process) prepareExec(ctx context.Context) error {
	if err := p.load(); err != nil {
		return errors.New(execFailed + err.Error())
	}
	return p.open(ctx)
}

func (p *process) canStart() error {
	switch {
	case p.status == runtime.RunningStatus:
		return errors.New("cannot start a running process")
	case p.status == runtime.StoppedStatus:
		return errors.New("cannot start a stopped process")
	case p.execID != "" && p.task.init.status != runtime.RunningStatus:
		return fmt.Errorf("container %s init process is not running: %w", p.task.id, errdefs.ErrFailedPrecondition)
	}
	return nil
}

// begin makes the process a running one. The caller holds the task's mutex.
func (p *process) begin() {
	p.status = runtime.RunningStatus
	p.task.live[p] = struct{}{}
}

// launch runs the program in a goroutine of its own.
func (p *process) launch() {
	m := p.task.machine
	m.running.Add(1)
	go func() {
		defer m.running.Done()
		code := 1 // of a handler that ends its goroutine, as t.FailNow does
		defer func() { p.end(code) }()
		code = p.run(p.ctx, newProc(p))
	}()
	m.clock.changed()
}

// end is the end of the process, by itself or by a signal; only the first
// counts. The end of the first process is the end of all.
func (p *process) end(code int) {
	t := p.task
	t.mu.Lock()
	if p.status == runtime.StoppedStatus {
		t.mu.Unlock()
		return
	}
	var others []*process
	if p.isInit() {
		for other := range t.live {
			if other != p {
				others = append(others, other)
			}
		}
	}
	t.mu.Unlock()
	for _, other := range others {
		other.end(128 + int(syscall.SIGKILL))
	}
	t.mu.Lock()
	if p.status == runtime.StoppedStatus {
		t.mu.Unlock()
		return
	}
	started := p.status == runtime.RunningStatus
	if p.dying {
		code = 128 + int(p.fatal) // whatever the program says to its end
	}
	p.status, p.dying = runtime.StoppedStatus, false
	p.exit = runtime.Exit{Pid: p.pid, Status: uint32(code) & 0xff, Timestamp: t.machine.clock.Now()}
	delete(t.live, p)
	if p.stdio != nil {
		p.stdio.close()
	}
	p.cancel()
	t.mu.Unlock()
	if !p.child && (started || p.isInit()) {
		t.machine.publish(t.namespace, runtime.TaskExitEventTopic, &eventtypes.TaskExit{
			ContainerID: t.id, ID: p.ID(), Pid: p.pid, ExitStatus: p.exit.Status, ExitedAt: protobuf.ToTimestamp(p.exit.Timestamp),
		})
	}
	close(p.exited)
	t.machine.clock.changed()
}

// Wait returns the exit, or ctx's error.
func (p *process) Wait(ctx context.Context) (*runtime.Exit, error) {
	select {
	case <-p.exited:
		exit := p.exit
		return &exit, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ResizePty changes the terminal's size, and tells the program.
func (p *process) ResizePty(_ context.Context, size runtime.ConsoleSize) error {
	p.task.mu.Lock()
	defer p.task.mu.Unlock()
	if p.stdio == nil || p.stdio.terminal == nil || p.status == runtime.StoppedStatus {
		return nil
	}
	if err := p.stdio.resize(size.Width, size.Height); err != nil {
		return err
	}
	p.signal(syscall.SIGWINCH)
	return nil
}

// CloseIO closes the shim's end of the input.
func (p *process) CloseIO(context.Context) error {
	p.task.mu.Lock()
	defer p.task.mu.Unlock()
	if p.stdio != nil {
		p.stdio.closeInput()
	}
	return nil
}

// Delete removes an exec that does not run.
func (p *process) Delete(ctx context.Context) (*runtime.Exit, error) {
	exit, err := p.remove(ctx)
	if err != nil {
		return nil, err
	}
	t := p.task
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.execs, p.execID)
	return exit, nil
}

// remove ends what is left of a process that does not run, and waits for its
// output, as long as a shim does.
func (p *process) remove(ctx context.Context) (*runtime.Exit, error) {
	t := p.task
	t.mu.Lock()
	status := p.status
	if status == runtime.RunningStatus {
		defer t.mu.Unlock()
		if t.paused {
			return nil, errors.New("cannot delete a paused process")
		}
		return nil, errors.New("cannot delete a running process")
	}
	t.mu.Unlock()
	if status == runtime.CreatedStatus {
		p.end(128 + int(syscall.SIGKILL))
	}
	if p.stdio != nil {
		ctx, cancel := context.WithTimeout(ctx, drainTime)
		defer cancel()
		p.stdio.drain(ctx)
	}
	exit := p.exit
	return &exit, nil
}
