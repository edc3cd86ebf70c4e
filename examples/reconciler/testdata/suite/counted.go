// Package counted is a wrapper of a service, in a module of its own.
package counted

import (
	"context"
	"sync/atomic"

	"github.com/containerd/containerd/v2/client"

	"github.com/ctrdkit/containerd"
)

// Service passes everything on, and counts the tasks that it has started.
type Service struct {
	containerd.Service

	Started atomic.Int64
}

// StartTask starts a task and counts it.
func (s *Service) StartTask(ctx context.Context, containerID string, opts *containerd.StartTaskOptions) (client.Task, error) {
	task, err := s.Service.StartTask(ctx, containerID, opts)
	if err == nil {
		s.Started.Add(1)
	}
	return task, err
}
