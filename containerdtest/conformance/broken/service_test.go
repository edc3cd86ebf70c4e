package broken_test

import (
	"context"
	"strconv"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdtest"
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

// diesSlowly is a sleep that holds the fake to what a kernel does: a killed
// process is dead a moment after the kill, and not before it could notice.
func diesSlowly(c *client.Client, namespace string) containerdtest.Handler {
	return func(ctx context.Context, p *containerdtest.Proc) int {
		seconds, err := strconv.ParseFloat(p.Args[1], 64)
		if err != nil {
			return 1
		}
		if p.Sleep(ctx, time.Duration(seconds*float64(time.Second))) == nil {
			return 0
		}
		own := namespaces.WithNamespace(context.WithoutCancel(ctx), namespace)
		if _, err := c.TaskService().Wait(own, &tasks.WaitRequest{ContainerID: p.ContainerID, ExecID: p.ExecID}); err != nil {
			return 1 // the fake is about to end
		}
		return 128 + 9 // it is dead: this does not matter
	}
}
