package containerdtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"syscall"

	eventtypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/containerd/containerd/v2/pkg/identifiers"
	"github.com/containerd/containerd/v2/pkg/protobuf/types"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// heldSignal is a signal to a process of a paused task.
type heldSignal struct {
	to  *process
	sig syscall.Signal
}

// Kill signals the first process. With all it does the same, as runc does since
// 1.2, except that a stopped task is no error.
func (t *task) Kill(ctx context.Context, sig uint32, all bool) error {
	err := t.init.Kill(ctx, sig, false)
	if all && errors.Is(err, errFinished) {
		return nil
	}
	return err
}

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
	t.publish(runtime.TaskPausedEventTopic, &eventtypes.TaskPaused{ContainerID: t.id})
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
	t.publish(runtime.TaskResumedEventTopic, &eventtypes.TaskResumed{ContainerID: t.id})
	return nil
}

// thaw lets the processes go on and delivers what was sent to them meanwhile.
// The caller holds the mutex.
func (t *task) thaw() {
	if !t.paused {
		return
	}
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
	if err := identifiers.Validate(id); err != nil {
		return nil, fmt.Errorf("invalid exec id %s: %w", id, err)
	}
	var spec specs.Process
	if err := json.Unmarshal(opts.Spec.GetValue(), &spec); err != nil {
		return nil, fmt.Errorf("spec of process %s: %w: %w", id, err, errdefs.ErrInvalidArgument)
	}
	spec.Terminal = opts.IO.Terminal
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
	t.publish(runtime.TaskExecAddedEventTopic, &eventtypes.TaskExecAdded{ContainerID: t.id, ExecID: id})
	return p, nil
}

// canExec says what a shim says in the states in which it takes nothing more.
func (t *task) canExec() error {
	switch {
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

// Checkpoint is nothing that a simulated process can do.
func (t *task) Checkpoint(context.Context, string, *types.Any) error {
	return fmt.Errorf("the fake makes no checkpoints: %w", errdefs.ErrNotImplemented)
}

// Update accepts new resources; nothing in the fake uses up any.
func (t *task) Update(context.Context, *types.Any, map[string]string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.init.status == runtime.StoppedStatus {
		return errors.New("cannot update a stopped container")
	}
	return nil
}

// idle says whether every process waits for something, and goes on waiting. One
// that is frozen does nothing else.
func (t *task) idle() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p := range t.live {
		if p.dying || p.status == runtime.StoppedStatus || !t.paused && !p.waiting() {
			return false
		}
	}
	return true
}

// processes returns the first process and the execs.
func (t *task) processes() []*process {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := []*process{t.init}
	for _, p := range t.execs {
		list = append(list, p)
	}
	return list
}

// kill kills every process of the task at once.
func (t *task) kill() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ending = true
	for p := range t.live {
		p.die(128 + int(syscall.SIGKILL))
	}
	t.thaw()
}
