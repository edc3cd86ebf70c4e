// Package downstream is a program's container logic, in a module of its own.
package downstream

import (
	"context"

	"github.com/ctrdkit/containerd"
)

// StartWorker starts the worker's container.
func StartWorker(ctx context.Context, svc containerd.Service) error {
	_, err := svc.CreateContainer(ctx, containerd.CreateContainerRequest{ID: "worker", ImageRef: "app"})
	if err != nil {
		return err
	}
	_, err = svc.StartTask(ctx, "worker", nil)
	return err
}
