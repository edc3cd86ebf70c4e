package containerdtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"
	"syscall"

	"github.com/containerd/cgroups/v3/cgroup2/stats"
	eventtypes "github.com/containerd/containerd/api/events"
	apitypes "github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/containerd/v2/pkg/protobuf"
	"github.com/containerd/containerd/v2/pkg/protobuf/types"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// task is a simulated container: a root directory and processes.
type task struct {
	machine       *machine
	namespace, id string
	root          string // the root file system on the host
	readonly      bool
	hostname      string
	binds         []bind

	mu        sync.Mutex
	init      *process
	execs     map[string]*process
	live      map[*process]struct{} // all that run, children of programs included
	innerPIDs int
	paused    bool
	resumed   chan struct{} // closed unless paused
	held      []heldSignal  // sent while paused
	resources []byte        // of the last update
}

type heldSignal struct {
	to  *process
	sig syscall.Signal
}

var _ runtime.Task = (*task)(nil)

// newTask does what a runtime does at creation: it looks at the spec, at the
// root file system and at the program, and opens the streams.
func newTask(ctx context.Context, m *machine, ns, id string, opts runtime.CreateOpts) (*task, error) {
	var spec oci.Spec
	if opts.Spec == nil {
		return nil, fmt.Errorf("container %s has no spec: %w", id, errdefs.ErrFailedPrecondition)
	}
	if err := json.Unmarshal(opts.Spec.GetValue(), &spec); err != nil {
		return nil, fmt.Errorf("spec of container %s: %w: %w", id, err, errdefs.ErrInvalidArgument)
	}
	if spec.Process == nil || len(spec.Process.Args) == 0 {
		return nil, errors.New(createFailed + "args must not be empty")
	}
	if opts.Checkpoint != "" {
		return nil, fmt.Errorf("the fake restores no checkpoints: %w", errdefs.ErrNotImplemented)
	}
	if spec.Process.Terminal && !opts.IO.Terminal {
		return nil, errors.New(createFailed + "cannot allocate tty if runc will detach without setting console socket")
	}
	root, err := rootOf(opts.Rootfs, spec.Root)
	if err != nil {
		return nil, fmt.Errorf("root file system of container %s: %w", id, err)
	}
	t := &task{
		machine: m, namespace: ns, id: id, root: root, hostname: spec.Hostname,
		readonly: spec.Root != nil && spec.Root.Readonly,
		execs:    map[string]*process{}, live: map[*process]struct{}{}, resumed: make(chan struct{}),
	}
	close(t.resumed)
	for _, m := range spec.Mounts {
		if m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind") {
			t.binds = append(t.binds, bind{source: m.Source, target: path.Clean(m.Destination)})
		}
	}
	if t.hostname == "" {
		t.hostname = id
	}
	if err := t.makeDir(spec.Process.Cwd); err != nil {
		return nil, fmt.Errorf(createFailed+"%w", err)
	}
	t.init = t.newProcess("", *spec.Process, opts.IO)
	if err := t.init.load(); err != nil {
		return nil, errors.New(createFailed + err.Error())
	}
	if err := t.init.open(ctx); err != nil {
		return nil, err
	}
	return t, nil
}

// rootOf returns the directory that is a container's root file system.
func rootOf(mounts []mount.Mount, root *specs.Root) (string, error) {
	switch {
	case len(mounts) == 1 && mounts[0].Type == "bind":
		return mounts[0].Source, nil
	case len(mounts) == 0 && root != nil && root.Path != "" && root.Path != "rootfs":
		return root.Path, nil
	}
	return "", fmt.Errorf("the fake takes one bind mount, not %v: %w", mounts, errdefs.ErrNotImplemented)
}

// ID returns the container's ID.
func (t *task) ID() string { return t.id }

// Namespace returns the container's namespace.
func (t *task) Namespace() string { return t.namespace }

// PID returns the process ID of the first process.
func (t *task) PID(context.Context) (uint32, error) { return t.init.pid, nil }

// State returns the state of the first process; the task's pauses show in it.
func (t *task) State(ctx context.Context) (runtime.State, error) { return t.init.State(ctx) }

// Kill signals the first process, or all.
func (t *task) Kill(ctx context.Context, sig uint32, all bool) error {
	if !all {
		return t.init.Kill(ctx, sig, false)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.init.status == runtime.StoppedStatus && len(t.live) == 0 {
		return errFinished
	}
	if t.init.status == runtime.CreatedStatus {
		t.init.signal(syscall.Signal(sig))
	}
	for p := range t.live {
		p.signal(syscall.Signal(sig))
	}
	return nil
}

// ResizePty changes the size of the first process's terminal.
func (t *task) ResizePty(ctx context.Context, size runtime.ConsoleSize) error {
	return t.init.ResizePty(ctx, size)
}

// CloseIO ends the first process's input.
func (t *task) CloseIO(ctx context.Context) error { return t.init.CloseIO(ctx) }

// Start runs the first process.
func (t *task) Start(ctx context.Context) error { return t.init.Start(ctx) }

// Wait returns the exit of the first process.
func (t *task) Wait(ctx context.Context) (*runtime.Exit, error) { return t.init.Wait(ctx) }

// Pause stops the time of all processes.
func (t *task) Pause(context.Context) error {
	t.mu.Lock()
	switch {
	case t.init.status == runtime.CreatedStatus:
		t.mu.Unlock()
		return errors.New("cannot pause task in created state")
	case t.init.status == runtime.StoppedStatus:
		t.mu.Unlock()
		return errors.New("cannot pause a stopped container")
	case t.paused:
		t.mu.Unlock()
		return errors.New("cannot pause a paused container")
	}
	t.paused, t.resumed = true, make(chan struct{})
	t.mu.Unlock()
	t.machine.publish(t.namespace, runtime.TaskPausedEventTopic, &eventtypes.TaskPaused{ContainerID: t.id})
	return nil
}

// Resume goes on, beginning with the signals that came meanwhile.
func (t *task) Resume(context.Context) error {
	t.mu.Lock()
	switch {
	case t.init.status == runtime.CreatedStatus:
		t.mu.Unlock()
		return errors.New("cannot resume task in created state")
	case t.init.status == runtime.StoppedStatus:
		t.mu.Unlock()
		return errors.New("cannot resume a stopped container")
	case !t.paused:
		t.mu.Unlock()
		return errors.New("cannot resume a running process")
	}
	t.thaw()
	t.mu.Unlock()
	t.machine.publish(t.namespace, runtime.TaskResumedEventTopic, &eventtypes.TaskResumed{ContainerID: t.id})
	return nil
}

// thaw lets the processes go on and delivers what was sent to them meanwhile.
// The caller holds the mutex.
func (t *task) thaw() {
	t.paused = false
	held := t.held
	t.held = nil
	for _, s := range held {
		s.to.signal(s.sig)
	}
	close(t.resumed)
}

// Exec adds a process that is not started.
func (t *task) Exec(_ context.Context, id string, opts runtime.ExecOpts) (runtime.ExecProcess, error) {
	var spec specs.Process
	if err := json.Unmarshal(opts.Spec.GetValue(), &spec); err != nil {
		return nil, fmt.Errorf("spec of process %s: %w: %w", id, err, errdefs.ErrInvalidArgument)
	}
	p := t.newProcess(id, spec, opts.IO)
	t.mu.Lock()
	err := t.canExec()
	if _, exists := t.execs[id]; exists {
		err = fmt.Errorf("id %s: %w", id, errdefs.ErrAlreadyExists)
	}
	if err == nil {
		t.execs[id] = p
	}
	t.mu.Unlock()
	if err != nil {
		return nil, err
	}
	t.machine.publish(t.namespace, runtime.TaskExecAddedEventTopic, &eventtypes.TaskExecAdded{ContainerID: t.id, ExecID: id})
	return p, nil
}

// canExec says what a shim says in the states in which it runs nothing more.
func (t *task) canExec() error {
	switch {
	case t.init.status == runtime.CreatedStatus:
		return errors.New("cannot exec in a created state")
	case t.init.status == runtime.StoppedStatus:
		return errors.New("cannot exec in a stopped state")
	case t.paused:
		return errors.New("cannot exec in a paused state")
	}
	return nil
}

// Process returns an exec.
func (t *task) Process(_ context.Context, id string) (runtime.ExecProcess, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.execs[id]
	if p == nil {
		return nil, fmt.Errorf("process does not exist %s: %w", id, errdefs.ErrNotFound)
	}
	return p, nil
}

// Pids lists what runs, the first process first.
func (t *task) Pids(context.Context) ([]runtime.ProcessInfo, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []runtime.ProcessInfo
	if t.init.status == runtime.CreatedStatus {
		list = append(list, runtime.ProcessInfo{Pid: t.init.pid})
	}
	for p := range t.live {
		info := runtime.ProcessInfo{Pid: p.pid}
		if p.execID != "" && !p.child {
			info.Info = &options.ProcessDetails{ExecID: p.execID}
		}
		list = append(list, info)
	}
	slices.SortFunc(list, func(a, b runtime.ProcessInfo) int { return int(a.Pid) - int(b.Pid) })
	return list, nil
}

// Checkpoint is nothing that a simulated process can do.
func (t *task) Checkpoint(context.Context, string, *types.Any) error {
	return fmt.Errorf("the fake makes no checkpoints: %w", errdefs.ErrNotImplemented)
}

// Update accepts new resources; nothing in the fake uses up any.
func (t *task) Update(_ context.Context, resources *types.Any, _ map[string]string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.init.status == runtime.StoppedStatus {
		return errors.New("cannot update a stopped container")
	}
	t.resources = resources.GetValue()
	return nil
}

// Stats counts the processes; the fake measures nothing else.
func (t *task) Stats(context.Context) (*types.Any, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return typeurl.MarshalAnyToProto(&stats.Metrics{
		Pids: &stats.PidsStat{Current: uint64(len(t.live))}, CPU: &stats.CPUStat{}, Memory: &stats.MemoryStat{},
	})
}

func (t *task) idle() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p := range t.live {
		if p.dying || p.blocked == 0 {
			return false
		}
	}
	return true
}

// killAll kills every process of the task at once.
func (t *task) killAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p := range t.live {
		p.signal(syscall.SIGKILL)
	}
}

// release closes the streams of processes that were never started.
func (t *task) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range append([]*process{t.init}, t.execList()...) {
		if p.stdio != nil && p.status == runtime.CreatedStatus {
			p.stdio.close()
		}
	}
}

func (t *task) execList() []*process {
	list := make([]*process, 0, len(t.execs))
	for _, p := range t.execs {
		list = append(list, p)
	}
	return list
}

func (t *task) announceCreate(opts runtime.CreateOpts) {
	var rootfs []*apitypes.Mount
	for _, m := range opts.Rootfs {
		rootfs = append(rootfs, &apitypes.Mount{Type: m.Type, Source: m.Source, Target: m.Target, Options: m.Options})
	}
	t.machine.publish(t.namespace, runtime.TaskCreateEventTopic, &eventtypes.TaskCreate{
		ContainerID: t.id, Bundle: t.root, Rootfs: rootfs, Pid: t.init.pid,
		IO: &eventtypes.TaskIO{Stdin: opts.IO.Stdin, Stdout: opts.IO.Stdout, Stderr: opts.IO.Stderr, Terminal: opts.IO.Terminal},
	})
}

// announceDelete tells that a process's record was removed.
func (t *task) announceDelete(p *process, exit *runtime.Exit) {
	t.machine.publish(t.namespace, runtime.TaskDeleteEventTopic, &eventtypes.TaskDelete{
		ContainerID: t.id, ID: p.execID, Pid: exit.Pid, ExitStatus: exit.Status, ExitedAt: protobuf.ToTimestamp(exit.Timestamp),
	})
}
