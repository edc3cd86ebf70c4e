package containerdtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

const (
	// dyingTime is how long a killed process still counts as running, as it
	// does on a real machine until it was reaped.
	dyingTime = 10 * time.Millisecond
	// drainTime is how long a shim waits at most for output that a child of a
	// deleted process holds open.
	drainTime = 10 * time.Second

	execFailed  = "OCI runtime exec failed: exec failed: "
	startFailed = execFailed + "unable to start container process: "
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

	ctx      context.Context // ends when the process is killed
	cancel   context.CancelFunc
	starting sync.Mutex    // held while it is started
	exited   chan struct{} // closed when waiting for it is over

	// Guarded by the task's mutex.
	status  runtime.Status
	failed  bool // its start has failed, for good
	dying   bool
	exit    runtime.Exit
	traps   map[syscall.Signal]bool
	pending []syscall.Signal
	arrived chan struct{} // has an element when pending may have
	waits   map[*waiting]struct{}
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
		ctx: ctx, cancel: cancel, exited: make(chan struct{}), status: runtime.CreatedStatus,
		traps: map[syscall.Signal]bool{}, arrived: make(chan struct{}, 1), waits: map[*waiting]struct{}{},
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
	if p.task.paused {
		s.Status = runtime.PausedStatus
	}
	return s, nil
}

// Start runs the program. If it can't, an exec stays for ever as if it had not
// been started, and waiting for it is over.
func (p *process) Start(ctx context.Context) error {
	p.starting.Lock()
	defer p.starting.Unlock()
	t := p.task
	t.mu.Lock()
	err := p.canStart()
	t.mu.Unlock()
	if err != nil {
		return err
	}
	if p.execID != "" {
		if err := p.prepareExec(ctx); err != nil {
			return p.fail(err)
		}
	}
	t.mu.Lock()
	if err = p.canStart(); err == nil {
		err = t.machine.enter()
	}
	if err == nil {
		p.begin()
	}
	t.mu.Unlock()
	if err != nil {
		return p.fail(err)
	}
	p.announceStart()
	p.launch()
	return nil
}

// prepareExec does for an exec what creation does for a first process.
func (p *process) prepareExec(ctx context.Context) error {
	switch {
	case len(p.spec.Args) == 0:
		return errors.New(execFailed + "args must not be empty")
	case p.spec.Cwd == "":
		return errors.New(execFailed + "Cwd property must not be empty")
	}
	p.task.mu.Lock()
	paused := p.task.paused
	p.task.mu.Unlock()
	if paused {
		return errors.New(execFailed + "cannot exec in a paused container (use --ignore-paused to override)")
	}
	if err := p.load(); err != nil {
		return errors.New(startFailed + err.Error())
	}
	return p.open(ctx)
}

// canStart says why a shim does not start the process. The caller holds the
// task's mutex.
func (p *process) canStart() error {
	t := p.task
	switch {
	case p.execID != "" && (t.ending || t.init.status == runtime.StoppedStatus):
		return fmt.Errorf("container %s init process is not running: %w", t.id, errdefs.ErrFailedPrecondition)
	case p.status == runtime.StoppedStatus:
		return errors.New("cannot start a stopped process")
	case p.isInit() && t.paused:
		return errors.New("cannot start a paused process")
	case p.status == runtime.RunningStatus:
		return errors.New("cannot start a running process")
	case p.failed: // a real shim dies of this
		return errors.New("cannot start a process twice")
	}
	return nil
}

// fail ends what a failed start has begun, and returns its error.
func (p *process) fail(err error) error {
	if p.execID == "" {
		return err
	}
	p.task.mu.Lock()
	defer p.task.mu.Unlock()
	if p.status != runtime.CreatedStatus || p.failed {
		return err
	}
	p.failed = true
	close(p.exited)
	if p.stdio != nil {
		p.stdio.close()
	}
	return err
}
