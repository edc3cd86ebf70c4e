package broken_test

import (
	"context"

	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"

	"github.com/ctrdkit/containerd"
)

// broken is the base of every service with a bug: it replaces a method of a
// sound service by one over the plain client.
type broken struct {
	containerd.Service
	client    *client.Client
	namespace string
	dir       string // for FIFOs
}

// in returns ctx with the service's namespace.
func (b broken) in(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, b.namespace)
}

// task loads a container's task.
func (b broken) task(ctx context.Context, containerID string) (client.Task, error) {
	c, err := b.client.LoadContainer(b.in(ctx), containerID)
	if err != nil {
		return nil, err
	}
	return c.Task(b.in(ctx), nil)
}

// failed is how a sound service returns an error; it is nil for nil.
func failed(op, id string, err error) error {
	if err == nil {
		return nil
	}
	return &containerd.Error{Op: op, ID: id, Err: err}
}
