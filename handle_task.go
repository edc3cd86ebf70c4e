package containerd

import (
	"context"
	"syscall"

	"github.com/containerd/containerd/api/types"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// scopedProcess is a Process whose methods work with any context and act in
// the service's namespace.
type scopedProcess struct {
	containerd.Process
	scope scope
}

func (sc scope) process(p containerd.Process) containerd.Process {
	return &scopedProcess{Process: p, scope: sc}
}

func (p *scopedProcess) Start(ctx context.Context) error {
	return p.Process.Start(p.scope.context(ctx))
}

func (p *scopedProcess) Delete(ctx context.Context, opts ...containerd.ProcessDeleteOpts) (*containerd.ExitStatus, error) {
	return p.Process.Delete(p.scope.context(ctx), opts...)
}

func (p *scopedProcess) Kill(ctx context.Context, signal syscall.Signal, opts ...containerd.KillOpts) error {
	return p.Process.Kill(p.scope.context(ctx), signal, opts...)
}

func (p *scopedProcess) Wait(ctx context.Context) (<-chan containerd.ExitStatus, error) {
	return p.Process.Wait(p.scope.context(ctx))
}

func (p *scopedProcess) CloseIO(ctx context.Context, opts ...containerd.IOCloserOpts) error {
	return p.Process.CloseIO(p.scope.context(ctx), opts...)
}

func (p *scopedProcess) Resize(ctx context.Context, w, h uint32) error {
	return p.Process.Resize(p.scope.context(ctx), w, h)
}

func (p *scopedProcess) Status(ctx context.Context) (containerd.Status, error) {
	return p.Process.Status(p.scope.context(ctx))
}

// scopedTask is a Task whose methods work with any context and act in the
// service's namespace.
type scopedTask struct {
	scopedProcess
	task containerd.Task
}

func (sc scope) task(t containerd.Task) containerd.Task {
	return &scopedTask{scopedProcess: scopedProcess{Process: t, scope: sc}, task: t}
}

func (t *scopedTask) Pause(ctx context.Context) error {
	return t.task.Pause(t.scope.context(ctx))
}

func (t *scopedTask) Resume(ctx context.Context) error {
	return t.task.Resume(t.scope.context(ctx))
}

func (t *scopedTask) Exec(ctx context.Context, id string, spec *specs.Process, create cio.Creator) (containerd.Process, error) {
	p, err := t.task.Exec(t.scope.context(ctx), id, spec, create)
	if err != nil {
		return nil, err
	}
	return t.scope.process(p), nil
}

func (t *scopedTask) Pids(ctx context.Context) ([]containerd.ProcessInfo, error) {
	return t.task.Pids(t.scope.context(ctx))
}

func (t *scopedTask) Checkpoint(ctx context.Context, opts ...containerd.CheckpointTaskOpts) (containerd.Image, error) {
	image, err := t.task.Checkpoint(t.scope.context(ctx), opts...)
	if err != nil {
		return nil, err
	}
	return t.scope.image(image), nil
}

func (t *scopedTask) Update(ctx context.Context, opts ...containerd.UpdateTaskOpts) error {
	return t.task.Update(t.scope.context(ctx), opts...)
}

func (t *scopedTask) LoadProcess(ctx context.Context, id string, attach cio.Attach) (containerd.Process, error) {
	p, err := t.task.LoadProcess(t.scope.context(ctx), id, attach)
	if err != nil {
		return nil, err
	}
	return t.scope.process(p), nil
}

func (t *scopedTask) Metrics(ctx context.Context) (*types.Metric, error) {
	return t.task.Metrics(t.scope.context(ctx))
}

func (t *scopedTask) Spec(ctx context.Context) (*oci.Spec, error) {
	return t.task.Spec(t.scope.context(ctx))
}
