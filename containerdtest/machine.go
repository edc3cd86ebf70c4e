package containerdtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"

	"github.com/ctrdkit/containerd/internal/clock"
)

// firstPID is the first process ID of the simulated machine. It is above every
// PID that Linux gives (2^22), so that it never names a process of the host.
const firstPID = 1<<22 + 1

// machine is what containerd controls and does not own: the tasks and their
// processes. Like the shims of a real machine it outlives the daemon.
type machine struct {
	t     T
	clock *virtualClock
	dir   string // for the files of running tasks

	mu        sync.Mutex
	handlers  []handling
	suggested map[string]bool // programs that the test's log tells to script
	tasks     map[taskKey]*task
	pids      uint32
	events    events.Publisher // of the running daemon; nil while there is none
	closed    bool             // nothing begins any more
	inside    int              // goroutines of processes
	left      *sync.Cond       // when inside is 0
}

var errClosed = fmt.Errorf("the fake is closed: %w", errdefs.ErrUnavailable)

type taskKey struct{ namespace, id string }

func newMachine(t T, c *virtualClock) *machine {
	m := &machine{t: t, clock: c, tasks: map[taskKey]*task{}, pids: firstPID - 1}
	m.left = sync.NewCond(&m.mu)
	c.idle, c.gone = m.idle, m.gone
	return m
}

// enter lets a process begin. The caller calls leave when it has ended.
func (m *machine) enter() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return errClosed
	}
	m.inside++
	return nil
}

// stay is enter for what ends a process.
func (m *machine) stay() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inside++
}

func (m *machine) leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.inside--; m.inside == 0 {
		m.left.Broadcast()
	}
}

func (m *machine) nextPID() uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pids++
	return m.pids
}

// connect makes a daemon the one that gets the events; nil means that there is none.
func (m *machine) connect(p events.Publisher) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = p
}

// publish sends an event to the daemon, if there is one.
func (m *machine) publish(namespace, topic string, event events.Event) {
	m.mu.Lock()
	p := m.events
	m.mu.Unlock()
	if p == nil {
		return
	}
	ctx := namespaces.WithNamespace(context.Background(), namespace)
	if err := p.Publish(ctx, topic, event); err != nil {
		log.G(ctx).WithError(err).WithField("topic", topic).Warn("publishing an event")
	}
}

// idle says whether every running process waits for something.
func (m *machine) idle() bool {
	for _, t := range m.all() {
		if !t.idle() {
			return false
		}
	}
	return true
}

// gone says whether a process has ended, or is not there at all.
func (m *machine) gone(p clock.Process) bool {
	m.mu.Lock()
	t := m.tasks[taskKey{p.Namespace, p.ContainerID}]
	m.mu.Unlock()
	if t == nil {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	process := t.init
	if p.ExecID != "" {
		process = t.execs[p.ExecID]
	}
	return process == nil || process.status == runtime.StoppedStatus
}

// all returns the tasks, in no order.
func (m *machine) all() []*task {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]*task, 0, len(m.tasks))
	for _, t := range m.tasks {
		list = append(list, t)
	}
	return list
}

// halt kills everything, and waits until nothing of the machine runs.
func (m *machine) halt() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	list := m.all()
	for _, t := range list {
		t.kill()
	}
	m.mu.Lock()
	for m.inside > 0 {
		m.left.Wait()
	}
	m.mu.Unlock()
	for _, t := range list {
		for _, p := range t.processes() {
			p.finish()
		}
	}
}

// taskRuntime is the machine as the plugin that containerd runs tasks with.
type taskRuntime struct{ *machine }

var _ runtime.PlatformRuntime = taskRuntime{}

// ID names the plugin.
func (taskRuntime) ID() string { return taskPlugin }

// Create makes a task whose process is not started.
func (r taskRuntime) Create(ctx context.Context, id string, opts runtime.CreateOpts) (runtime.Task, error) {
	ns, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return nil, err
	}
	t, err := newTask(ctx, r.machine, ns, id, opts)
	if err != nil {
		return nil, err
	}
	if err := r.add(t); err != nil {
		return nil, errors.Join(err, t.discard())
	}
	t.announceCreate(opts)
	return t, nil
}

func (m *machine) add(t *task) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := taskKey{t.namespace, t.id}
	switch {
	case m.closed:
		return errClosed
	case m.tasks[key] != nil:
		return fmt.Errorf("task %s: %w", t.id, errdefs.ErrAlreadyExists)
	}
	m.tasks[key] = t
	return nil
}

// Get returns a task of the context's namespace.
func (r taskRuntime) Get(ctx context.Context, id string) (runtime.Task, error) {
	t, err := r.task(ctx, id)
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (r taskRuntime) task(ctx context.Context, id string) (*task, error) {
	ns, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.tasks[taskKey{ns, id}]
	if t == nil {
		return nil, fmt.Errorf("task %s: %w", id, errdefs.ErrNotFound)
	}
	return t, nil
}

// Tasks returns the tasks of the context's namespace, or of all of them.
func (r taskRuntime) Tasks(ctx context.Context, all bool) ([]runtime.Task, error) {
	var ns string
	if !all {
		var err error
		if ns, err = namespaces.NamespaceRequired(ctx); err != nil {
			return nil, err
		}
	}
	var list []runtime.Task
	for _, t := range r.all() {
		if all || t.namespace == ns {
			list = append(list, t)
		}
	}
	slices.SortFunc(list, func(a, b runtime.Task) int { return int(a.(*task).init.pid) - int(b.(*task).init.pid) })
	return list, nil
}

// Delete removes a task that does not run.
func (r taskRuntime) Delete(ctx context.Context, id string) (*runtime.Exit, error) {
	t, err := r.task(ctx, id)
	if err != nil {
		return nil, err
	}
	exit, err := t.init.remove(ctx)
	if err != nil {
		return nil, fmt.Errorf("failed to delete task: %w", err)
	}
	r.mu.Lock()
	key := taskKey{t.namespace, id}
	gone := r.tasks[key] != t
	if !gone {
		delete(r.tasks, key)
	}
	r.mu.Unlock()
	if gone {
		return nil, fmt.Errorf("task %s: %w", id, errdefs.ErrNotFound)
	}
	t.announceDelete(exit)
	close(t.deleted)
	return exit, t.discard()
}
