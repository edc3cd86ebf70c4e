package containerd

import (
	"context"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/typeurl/v2"
)

// scopedContainer is a Container whose methods work with any context and act
// in the service's namespace.
type scopedContainer struct {
	containerd.Container
	scope scope
}

func (sc scope) container(c containerd.Container) containerd.Container {
	return &scopedContainer{Container: c, scope: sc}
}

func (sc scope) containers(list []containerd.Container) []containerd.Container {
	scoped := make([]containerd.Container, len(list))
	for i, c := range list {
		scoped[i] = sc.container(c)
	}
	return scoped
}

func (c *scopedContainer) Info(ctx context.Context, opts ...containerd.InfoOpts) (containers.Container, error) {
	return c.Container.Info(c.scope.context(ctx), opts...)
}

func (c *scopedContainer) Delete(ctx context.Context, opts ...containerd.DeleteOpts) error {
	return c.Container.Delete(c.scope.context(ctx), opts...)
}

func (c *scopedContainer) NewTask(ctx context.Context, create cio.Creator, opts ...containerd.NewTaskOpts) (containerd.Task, error) {
	task, err := c.Container.NewTask(c.scope.context(ctx), create, opts...)
	if err != nil {
		return nil, err
	}
	return c.scope.task(task), nil
}

func (c *scopedContainer) Spec(ctx context.Context) (*oci.Spec, error) {
	return c.Container.Spec(c.scope.context(ctx))
}

func (c *scopedContainer) Task(ctx context.Context, attach cio.Attach) (containerd.Task, error) {
	task, err := c.Container.Task(c.scope.context(ctx), attach)
	if err != nil {
		return nil, err
	}
	return c.scope.task(task), nil
}

func (c *scopedContainer) Image(ctx context.Context) (containerd.Image, error) {
	image, err := c.Container.Image(c.scope.context(ctx))
	if err != nil {
		return nil, err
	}
	return c.scope.image(image), nil
}

func (c *scopedContainer) Labels(ctx context.Context) (map[string]string, error) {
	return c.Container.Labels(c.scope.context(ctx))
}

func (c *scopedContainer) SetLabels(ctx context.Context, labels map[string]string) (map[string]string, error) {
	return c.Container.SetLabels(c.scope.context(ctx), labels)
}

func (c *scopedContainer) Extensions(ctx context.Context) (map[string]typeurl.Any, error) {
	return c.Container.Extensions(c.scope.context(ctx))
}

func (c *scopedContainer) Update(ctx context.Context, opts ...containerd.UpdateContainerOpts) error {
	return c.Container.Update(c.scope.context(ctx), opts...)
}

func (c *scopedContainer) Checkpoint(ctx context.Context, ref string, opts ...containerd.CheckpointOpts) (containerd.Image, error) {
	image, err := c.Container.Checkpoint(c.scope.context(ctx), ref, opts...)
	if err != nil {
		return nil, err
	}
	return c.scope.image(image), nil
}

func (c *scopedContainer) Restore(ctx context.Context, create cio.Creator, rootDir string) (int, error) {
	return c.Container.Restore(c.scope.context(ctx), create, rootDir)
}
