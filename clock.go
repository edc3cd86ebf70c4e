package containerd

import "time"

// clock is the source of every timer of this package, so that tests decide
// how fast time passes.
type clock interface {
	Now() time.Time
	// NewTimer returns a channel that delivers once after d, and a function
	// that releases the timer.
	NewTimer(d time.Duration) (<-chan time.Time, func())
}

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

func (systemClock) NewTimer(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}
