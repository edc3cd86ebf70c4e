// Package wait waits until a container is ready, or has reached some other
// condition.
//
//	ready := wait.All(
//		wait.ForPort("127.0.0.1:5432"),
//		wait.ForExec("pg_isready"),
//	)
//	err := ready.Wait(ctx, wait.Target{Service: service, ContainerID: "db"})
//
// A condition is a [Strategy]; [All] and [Any] join several. Those that look
// again and again do so every [DefaultPollInterval], or as their method
// WithPollInterval says. None has a time limit of its own: give ctx one.
//
// All strategies are values that don't change. They are safe for concurrent use
// by multiple goroutines, and can be used any number of times, also on
// different containers, unless they say otherwise.
package wait

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

// DefaultPollInterval is the time between two looks at a condition.
const DefaultPollInterval = 100 * time.Millisecond

// Target is the container whose condition is waited for.
type Target struct {
	// Service is what the strategies look with. [ForExit] also uses its
	// [containerd.TaskWaiter], if it is one.
	Service containerd.TaskService
	// ContainerID is the container.
	ContainerID string
}

// Strategy is a condition that can be waited for. Implement it for conditions of
// your own: [Func] does for simple ones.
type Strategy interface {
	// Wait returns nil when the condition holds. When ctx ends before, or when the
	// condition can't come to hold any more, it returns an *[Error].
	Wait(ctx context.Context, target Target) error
}

// Error says which condition was not reached. Its class is that of Err: that of
// the context's error if time was up.
type Error struct {
	Strategy string // what was waited for: `exec "pg_isready"`
	Err      error  // why it was given up
	Last     error  // why it did not hold at the last look; nil if that is Err, or there was none
}

// Error names the strategy and both reasons.
func (e *Error) Error() string {
	text := "waiting for " + e.Strategy + ": " + e.Err.Error()
	if e.Last != nil {
		text += " (at last: " + e.Last.Error() + ")"
	}
	return text
}

// Unwrap returns the reason why the wait was given up. Last is not part of the
// chain: what did not hold for a while is no reason.
func (e *Error) Unwrap() error { return e.Err }

// errNotYet is the class of a look that may well turn out better next time.
type errNotYet struct{ error }

func (e errNotYet) Unwrap() error { return e.error }

func notYet(format string, args ...any) error { return errNotYet{fmt.Errorf(format, args...)} }

// poll looks until look returns nil, an error that is not an errNotYet, or ctx ends.
func poll(ctx context.Context, name string, interval time.Duration, look func(context.Context) error) error {
	if interval < 0 {
		return &Error{Strategy: name, Err: fmt.Errorf("poll interval %v is negative: %w", interval, containerd.ErrInvalidArgument)}
	}
	if interval == 0 {
		interval = DefaultPollInterval
	}
	var last error
	for {
		if err := ctx.Err(); err != nil {
			return &Error{Strategy: name, Err: err, Last: last}
		}
		err := look(ctx)
		if err == nil {
			return nil
		}
		var again errNotYet
		switch {
		case ended(ctx) != nil: // a look that was cut short says nothing
			return &Error{Strategy: name, Err: ended(ctx), Last: last}
		case errors.As(err, &again):
			last = again.error
		case errdefs.IsUnavailable(err): // the daemon will be back
			last = err
		default:
			return &Error{Strategy: name, Err: err}
		}
		if err := pause(ctx, interval); err != nil {
			return &Error{Strategy: name, Err: err, Last: last}
		}
	}
}

// ended returns ctx's error, also at its deadline, which others can notice
// before ctx does.
func ended(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Func is a condition that a function of the caller's looks at.
type Func struct {
	name     string
	look     func(ctx context.Context, target Target) (bool, error)
	interval time.Duration
}

// ForFunc waits until look reports true. Its error ends the wait, unless it is
// of the class unavailable. The name is for errors.
func ForFunc(name string, look func(ctx context.Context, target Target) (bool, error)) Func {
	return Func{name: name, look: look}
}

// WithPollInterval returns the strategy with another time between two looks.
func (f Func) WithPollInterval(d time.Duration) Func { f.interval = d; return f }

// Wait implements [Strategy].
func (f Func) Wait(ctx context.Context, target Target) error {
	return poll(ctx, f.name, f.interval, func(ctx context.Context) error {
		holds, err := f.look(ctx, target)
		if err == nil && !holds {
			return notYet("it does not hold")
		}
		return err
	})
}
