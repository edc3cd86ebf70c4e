package containerdtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

const (
	createFailed = "failed to create shim task: "
	runcFailed   = createFailed + "OCI runtime create failed: runc create failed: "
	initFailed   = runcFailed + "unable to start container process: error during container init: "
)

// errShimGone is what a client of a shim gets whose task is deleted meanwhile.
var errShimGone = errors.New("ttrpc: closed")

// task is a simulated container: a root directory and processes.
type task struct {
	machine       *machine
	namespace, id string
	root          string // the root file system on the host
	readonly      bool
	scratch       string // what is mounted and no bind mount is in here
	mounts        []mounted
	hostname      string
	deleted       chan struct{} // closed when it is

	mu        sync.Mutex
	init      *process
	execs     map[string]*process
	live      map[*process]struct{} // all that run, children of programs included
	innerPIDs int
	ending    bool // the first process ends, and no other begins
	paused    bool
	resumed   chan struct{} // closed unless paused
	held      []heldSignal  // sent while paused
}

var _ runtime.Task = (*task)(nil)

// newTask does what a runtime does at creation: it looks at the spec, at the
// root file system and at the program, and opens the streams.
func newTask(ctx context.Context, m *machine, ns, id string, opts runtime.CreateOpts) (_ *task, err error) {
	spec, err := specOf(id, opts)
	if err != nil {
		return nil, err
	}
	t := &task{
		machine: m, namespace: ns, id: id, hostname: spec.Hostname, deleted: make(chan struct{}),
		execs: map[string]*process{}, live: map[*process]struct{}{}, resumed: make(chan struct{}),
	}
	close(t.resumed)
	defer func() {
		if err != nil {
			err = errors.Join(err, t.discard())
		}
	}()
	if t.root, t.readonly, err = rootOf(opts.Rootfs, spec.Root); err != nil {
		return nil, fmt.Errorf("root file system of container %s: %w", id, err)
	}
	if t.hostname == "" { // the container has the machine's
		if t.hostname, err = os.Hostname(); err != nil {
			return nil, err
		}
	}
	t.init = t.newProcess("", *spec.Process, opts.IO)
	if err := t.prepareFiles(spec); err != nil {
		return nil, fmt.Errorf(initFailed+"%w", err)
	}
	if err := t.init.load(); err != nil {
		return nil, errors.New(initFailed + err.Error())
	}
	if err := t.init.open(ctx); err != nil {
		return nil, fmt.Errorf(createFailed+"%w", err)
	}
	return t, nil
}

// specOf returns the spec of a container, if a runtime takes it.
func specOf(id string, opts runtime.CreateOpts) (*oci.Spec, error) {
	if opts.Spec == nil {
		return nil, fmt.Errorf("container %s has no spec: %w", id, errdefs.ErrFailedPrecondition)
	}
	var spec oci.Spec
	if err := json.Unmarshal(opts.Spec.GetValue(), &spec); err != nil {
		return nil, fmt.Errorf("spec of container %s: %w: %w", id, err, errdefs.ErrInvalidArgument)
	}
	switch {
	case opts.Checkpoint != "":
		return nil, fmt.Errorf("the fake restores no checkpoints: %w", errdefs.ErrNotImplemented)
	case spec.Process == nil:
		return nil, errors.New(runcFailed + "process property must not be empty")
	case len(spec.Process.Args) == 0:
		return nil, errors.New(runcFailed + "args must not be empty")
	case !path.IsAbs(spec.Process.Cwd):
		return nil, errors.New(runcFailed + "Cwd must be an absolute path")
	case spec.Process.Terminal && !opts.IO.Terminal:
		return nil, errors.New(runcFailed + "cannot allocate tty if runc will detach without setting console socket")
	case opts.IO.Terminal && !spec.Process.Terminal:
		return nil, errors.New(runcFailed + "cannot use console socket if runc will not detach or allocate tty")
	}
	return &spec, nil
}

// rootOf returns the directory that is a container's root file system.
func rootOf(mounts []mount.Mount, root *specs.Root) (dir string, readonly bool, err error) {
	readonly = root != nil && root.Readonly
	switch {
	case len(mounts) == 1 && mounts[0].Type == "bind":
		return mounts[0].Source, readonly || slices.Contains(mounts[0].Options, "ro"), nil
	case len(mounts) == 0 && root != nil && root.Path != "" && root.Path != "rootfs":
		return root.Path, readonly, nil
	}
	return "", false, fmt.Errorf("the fake takes one bind mount, not %v: %w", mounts, errdefs.ErrNotImplemented)
}

// prepareFiles makes what a container finds that its snapshot does not have:
// mounts, and the working directory of its first process.
func (t *task) prepareFiles(spec *oci.Spec) error {
	t.scratch = filepath.Join(t.machine.dir, strconv.Itoa(int(t.init.pid)))
	for _, m := range spec.Mounts {
		if err := t.mount(m); err != nil {
			return err
		}
	}
	dir, err := t.hostPath("/", spec.Process.Cwd)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("mkdir %s: %w", spec.Process.Cwd, errors.Unwrap(err))
	}
	return nil
}

// discard removes what the task has beside its snapshot.
func (t *task) discard() error {
	if t.init != nil {
		t.init.finish()
	}
	if t.scratch == "" {
		return nil
	}
	return removeTree(t.scratch)
}

// ID returns the container's ID.
func (t *task) ID() string { return t.id }

// Namespace returns the container's namespace.
func (t *task) Namespace() string { return t.namespace }

// PID returns the process ID of the first process.
func (t *task) PID(context.Context) (uint32, error) { return t.init.pid, nil }

// State returns the state of the first process; the task's pauses show in it.
func (t *task) State(ctx context.Context) (runtime.State, error) { return t.init.State(ctx) }

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
