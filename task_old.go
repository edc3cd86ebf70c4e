package containerd

import (
	"context"
	"fmt"
	"strings"
	"time"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
)

const (
	// retryPause and retryLimit pace the creation of a task while what is left
	// of an old one goes away.
	retryPause = 50 * time.Millisecond
	retryLimit = 40
)

// replaceOld removes the container's old task p if it has stopped, or if a
// start whose process is dead left it created. Any other task stays, and the
// error says what it is.
func (s *DefaultService) replaceOld(ctx context.Context, id string, p *tasktypes.Process) error {
	switch p.GetStatus() {
	case tasktypes.Status_STOPPED:
		return s.removeTask(ctx, id, p)
	case tasktypes.Status_CREATED:
		by, ours := taskOwner(p)
		switch {
		case !ours:
			return fmt.Errorf("task is created, but not started: %w", errdefs.ErrAlreadyExists)
		case !by.dead():
			return fmt.Errorf("task is being started by process %s (owner %s): %w", by.pid, by, errdefs.ErrAlreadyExists)
		}
		return s.removeTask(ctx, id, p)
	}
	return fmt.Errorf("task is %s: %w", statusName(p.GetStatus()), errdefs.ErrAlreadyExists)
}

// makeRoom is called when the daemon says that there is a task already: it
// removes an old one, or what an interrupted deletion left.
func (s *DefaultService) makeRoom(ctx context.Context, id string) error {
	p, err := s.process(ctx, id, "")
	if err == nil {
		return s.replaceOld(ctx, id, p)
	}
	if !errdefs.IsNotFound(err) {
		return err
	}
	if err := s.deleteRecordOfTask(ctx, id); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return s.pause(ctx, retryPause)
}

// isOccupied reports whether a task was not created because there is one, or
// because the daemon is still making or removing one: then its directory is
// in the way.
func isOccupied(err error) bool {
	return errdefs.IsAlreadyExists(err) ||
		strings.Contains(err.Error(), "mkdir ") && strings.Contains(err.Error(), ": file exists")
}

// isSwept reports whether a task was not created because its directory went away
// below its shim. A daemon that gives up a task's creation, because its request
// was cut short, removes that directory more than once, and may find another
// request's in its place.
func isSwept(err error) bool {
	text := err.Error()
	return strings.Contains(text, "failed to start shim: start failed: ") && strings.Contains(text, ": no such file or directory")
}
