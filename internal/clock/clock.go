// Package clock is what the services of this module measure time with.
package clock

import "time"

// Clock is the source of a service's time and timers. Its methods are safe for
// concurrent use.
type Clock interface {
	// Now returns the time.
	Now() time.Time
	// NewTimer returns a channel that delivers once after d, and a function that
	// releases the timer. It bounds what the daemon or the machine does.
	NewTimer(d time.Duration) (elapsed <-chan time.Time, release func())
	// NewProcessTimer is NewTimer for the time that a container's process gets
	// to do something. A virtual clock lets it pass when no process would use it.
	NewProcessTimer(d time.Duration) (elapsed <-chan time.Time, release func())
	// AwaitProcess says that a call waits for p to end and for nothing else,
	// until it calls done.
	AwaitProcess(p Process) (done func())
}

// Process names a container's first process, or with an ExecID an exec.
type Process struct{ Namespace, ContainerID, ExecID string }

// System is the machine's clock.
type System struct{}

// Now returns the machine's time.
func (System) Now() time.Time { return time.Now() }

// NewTimer starts a timer of package time.
func (System) NewTimer(d time.Duration) (elapsed <-chan time.Time, release func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}

// NewProcessTimer is NewTimer.
func (s System) NewProcessTimer(d time.Duration) (elapsed <-chan time.Time, release func()) {
	return s.NewTimer(d)
}

// AwaitProcess does nothing: real time passes by itself.
func (System) AwaitProcess(Process) (done func()) { return func() {} }
