package broken_test

import (
	"context"

	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"

	"github.com/ctrdkit/containerd"
)

// methodBugs break what holds for every method, at one of them.
var methodBugs = []bug{
	{
		name:    "GetContainer returns errors bare",
		service: func(b broken) containerd.Service { return bareErrors{b} },
		caught:  []string{"all methods/GetContainer: what does not exist is not found, and nothing is made"},
		says:    "want *containerd.Error",
		works:   []string{"containers/GetContainer: the container of exactly that ID"},
	},
	{
		name:    "GetContainer returns a handle without the namespace",
		service: func(b broken) containerd.Service { return bareHandle{b} },
		caught:  []string{"all methods/a container's handle from GetContainer works with a bare context"},
		says:    "namespace is required",
		may:     []string{"all methods/a container's handle", "all methods/an image's handle from a container", "tasks/a container's handle"},
		works:   []string{"all methods/GetContainer: acts in the service's namespace whatever the context carries"},
	},
	{
		name:    "GetContainer acts in the namespace of the caller's context",
		service: func(b broken) containerd.Service { return callersNamespace{b} },
		caught:  []string{"all methods/GetContainer: acts in the service's namespace whatever the context carries"},
		says:    "not found",
		works:   []string{"all methods/a container's handle from GetContainer works with a bare context"},
	},
	{
		name:    "GetContainer leaves it to the daemon to check the argument",
		service: func(b broken) containerd.Service { return uncheckedID{b} },
		caught: []string{
			"all methods/GetContainer: an empty id is an invalid argument",
		},
		works: []string{"all methods/GetContainer: what does not exist is not found, and nothing is made"},
	},
}

type bareErrors struct{ broken }

func (s bareErrors) GetContainer(ctx context.Context, id string) (client.Container, error) {
	if _, err := s.client.LoadContainer(s.in(ctx), id); err != nil {
		return nil, err
	}
	return s.Service.GetContainer(ctx, id)
}

type bareHandle struct{ broken }

func (s bareHandle) GetContainer(ctx context.Context, id string) (client.Container, error) {
	c, err := s.client.LoadContainer(s.in(ctx), id)
	if err != nil {
		return nil, failed("get container", id, err)
	}
	return c, nil
}

type callersNamespace struct{ broken }

func (s callersNamespace) GetContainer(ctx context.Context, id string) (client.Container, error) {
	if _, ok := namespaces.Namespace(ctx); !ok {
		ctx = s.in(ctx)
	}
	if _, err := s.client.LoadContainer(ctx, id); err != nil {
		return nil, failed("get container", id, err)
	}
	return s.Service.GetContainer(ctx, id)
}

type uncheckedID struct{ broken }

func (s uncheckedID) GetContainer(ctx context.Context, id string) (client.Container, error) {
	if _, err := s.client.LoadContainer(s.in(ctx), id); err != nil {
		return nil, failed("get container", id, err)
	}
	return s.Service.GetContainer(ctx, id)
}
