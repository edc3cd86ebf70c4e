package containerd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/containerd/errdefs"
)

const (
	// undoGrace is how long a failed call goes on undoing after its context ended.
	undoGrace = 900 * time.Millisecond
	// undoLimit bounds the undoing of a call whose context has not ended.
	undoLimit = 10 * time.Second
	// lateTime is how long a request may still take effect after it was cut short.
	lateTime = 5 * time.Second
)

// undo is the stack of steps that take back what an operation has made. A step
// is pushed before the request that it takes back, so that an unclear answer
// is covered; it must leave alone what the operation did not make (most things
// carry the operation's origin), and must succeed when there is nothing to do.
type undo struct {
	steps []undoStep
}

type undoStep struct {
	what string // for the error text: `snapshot "web-1"`
	run  func(ctx context.Context) error
	late func() bool // what the step finds nothing of may still come; nil if not
}

func (u *undo) push(what string, run func(ctx context.Context) error) {
	u.steps = append(u.steps, undoStep{what: what, run: run})
}

// expectLate says that the request of the last step was cut short, and may take
// effect until late says no.
func (u *undo) expectLate(late func() bool) { u.steps[len(u.steps)-1].late = late }

// run takes the steps back, the last one first, and keeps those that failed. A
// step that finds nothing counts as done, unless it may have come too early.
func (u *undo) run(ctx context.Context) error {
	var errs []error
	var kept []undoStep
	for i := len(u.steps) - 1; i >= 0; i-- {
		step := u.steps[i]
		err := native(step.run(ctx))
		switch {
		case err == nil:
			continue
		case !errdefs.IsNotFound(err):
			errs = append(errs, fmt.Errorf("%s: %w", step.what, err))
		case step.late == nil || !step.late():
			continue
		}
		kept = append([]undoStep{step}, kept...)
	}
	u.steps = kept
	return errors.Join(errs...)
}

func (u *undo) describe() string {
	names := make([]string, len(u.steps))
	for i, step := range u.steps {
		names[i] = step.what
	}
	return strings.Join(names, ", ")
}

// takeBack takes back what the failed call on id has made, on a context that
// outlives the call's own by less than a second. What can't be taken back in
// that time goes to the cleaner, and the error says so.
func (s *DefaultService) takeBack(lasting context.Context, id string, u *undo, cause error) error {
	if len(u.steps) == 0 {
		return cause
	}
	detached, cancel := context.WithTimeout(lasting, undoLimit)
	defer cancel()
	s.wakeConnection(detached)
	err := u.run(detached)
	left := u.describe()
	if len(u.steps) > 0 {
		s.cleaner.add(id, s, u)
	}
	if err == nil {
		return cause
	}
	// The failure to undo explains itself in text only: the class is the cause's.
	return fmt.Errorf("%w (still to be cleaned up: %s: %s)", native(cause), left, err.Error())
}

// outlive returns a context that keeps ctx's values and outlives it by
// undoGrace: for requests that must not be cut short when ctx ends, and for
// undoing them within the same time.
func outlive(ctx context.Context) (context.Context, context.CancelFunc) {
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(undoGrace):
			cancel()
		case <-lasting.Done():
		}
	})
	return lasting, func() {
		stop()
		cancel()
	}
}

// detach is outlive with an end of its own after undoLimit.
func detach(ctx context.Context) (context.Context, context.CancelFunc) {
	lasting, end := outlive(ctx)
	detached, cancel := context.WithTimeout(lasting, undoLimit)
	return detached, func() {
		cancel()
		end()
	}
}
