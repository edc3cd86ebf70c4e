package reconciler_test

import (
	"testing"

	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/mock"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdmock"
	"github.com/ctrdkit/containerd/examples/reconciler"
)

func TestRunStopsAtAListThatFails(t *testing.T) {
	svc := containerdmock.NewService(t)
	svc.EXPECT().ListContainersByLabel(mock.Anything, label, "").Return(nil, errdefs.ErrUnavailable)
	r := reconciler.Reconciler{Service: svc, Label: label}

	err := r.Run(t.Context(), wanted("web"))

	assert.ErrorIs(t, err, errdefs.ErrUnavailable)
}

func TestRunGoesOnAfterAnError(t *testing.T) {
	svc := containerdmock.NewService(t)
	svc.EXPECT().ListContainersByLabel(mock.Anything, label, "").Return(nil, nil)
	svc.EXPECT().ListTasks(mock.Anything, mock.Anything).Return(nil, nil)
	svc.EXPECT().CreateContainer(mock.Anything, named("db")).Return(nil, errdefs.ErrResourceExhausted)
	svc.EXPECT().CreateContainer(mock.Anything, named("web")).Return(nil, errdefs.ErrUnauthenticated)
	r := reconciler.Reconciler{Service: svc, Label: label}

	err := r.Run(t.Context(), wanted("db", "web"))

	assert.ErrorIs(t, err, errdefs.ErrResourceExhausted)
	assert.ErrorIs(t, err, errdefs.ErrUnauthenticated)
}

func named(id string) any {
	return mock.MatchedBy(func(req containerd.CreateContainerRequest) bool { return req.ID == id })
}

// gone is a container of which only the ID matters.
type gone struct {
	client.Container
	id string
}

func (g gone) ID() string { return g.id }

func TestRunIsContentWithWhatSomebodyElseRemoves(t *testing.T) {
	svc := containerdmock.NewService(t)
	svc.EXPECT().ListContainersByLabel(mock.Anything, label, "").Return([]client.Container{gone{id: "old"}}, nil)
	svc.EXPECT().ListTasks(mock.Anything, mock.Anything).Return(nil, nil)
	svc.EXPECT().StopTask(mock.Anything, "old", mock.Anything).Return(errdefs.ErrNotFound)
	r := reconciler.Reconciler{Service: svc, Label: label}

	err := r.Run(t.Context(), nil)

	assert.NoError(t, err)
}
