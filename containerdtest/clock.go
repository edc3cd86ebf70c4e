package containerdtest

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ctrdkit/containerd/internal/clock"
)

const (
	// quiet is how long nothing may have happened before time is skipped: what
	// an answer under way needs.
	quiet = 5 * time.Millisecond
	// noticeTime bounds how long no time is skipped because a call of the library
	// is about to learn of an exit, or that its time is up.
	noticeTime = 10 * time.Second
	// settleLimit bounds how long Advance waits for what a timer has set going.
	settleLimit = time.Second
)

// virtualClock is real time and what was skipped of it. Its process timers are
// the service's and those of sleeping processes; others are real ones.
type virtualClock struct {
	clock.System
	skips bool // time that nobody uses is skipped

	mu      sync.Mutex
	skipped time.Duration
	timers  []*processTimer
	awaited map[*awaited]struct{}
	elapsed int       // calls that are about to learn that their time is up
	noticed time.Time // when all must have learned what they are about to
	changes int       // things that have happened
	check   *time.Timer

	// What the machine knows: whether every process waits for something, and
	// whether one is not there any more.
	idle func() bool
	gone func(clock.Process) bool
}

// awaited is what a call of the library waits for.
type awaited struct {
	process clock.Process
	ended   bool // the call is about to learn of it
}

type processTimer struct {
	due     time.Time
	elapsed chan time.Time
	call    bool        // it is that of a call of the library, not of a process
	fired   atomic.Bool // it has elapsed
	real    *time.Timer
}

var _ clock.Clock = (*virtualClock)(nil)

// Now returns the virtual time.
func (c *virtualClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now()
}

func (c *virtualClock) now() time.Time { return time.Now().Add(c.skipped) }

// NewProcessTimer starts a timer that skipped time counts for.
func (c *virtualClock) NewProcessTimer(d time.Duration) (elapsed <-chan time.Time, release func()) {
	t := c.newTimer(d, true)
	return t.elapsed, func() { c.release(t) }
}

func (c *virtualClock) newTimer(d time.Duration, call bool) *processTimer {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &processTimer{due: c.now().Add(d), elapsed: make(chan time.Time, 1), call: call}
	t.real = time.AfterFunc(d, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.fire(t)
	})
	c.timers = append(c.timers, t)
	c.recheck()
	return t
}

func (c *virtualClock) release(t *processTimer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.real.Stop()
	if !c.forget(t) && t.call {
		c.elapsed = max(0, c.elapsed-1)
	}
}

func (c *virtualClock) fire(t *processTimer) {
	if c.forget(t) {
		t.real.Stop()
		t.fired.Store(true)
		if t.call {
			c.elapsed++
			c.soonNoticed()
		}
		t.elapsed <- t.due
	}
}

func (c *virtualClock) forget(t *processTimer) bool {
	i := slices.Index(c.timers, t)
	if i < 0 {
		return false
	}
	c.timers = slices.Delete(c.timers, i, i+1)
	return true
}

// AwaitProcess notes that a call of the library waits for a process.
func (c *virtualClock) AwaitProcess(p clock.Process) (done func()) {
	a := &awaited{process: p}
	c.mu.Lock()
	if c.awaited == nil {
		c.awaited = map[*awaited]struct{}{}
	}
	c.awaited[a] = struct{}{}
	c.mu.Unlock()
	if c.gone(p) {
		c.ended(p)
	}
	c.changed()
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.awaited, a)
		c.recheck()
	}
}

// advance passes d, timer by timer, and gives the processes real time for what
// they are about to do first, and for what each timer sets going.
func (c *virtualClock) advance(d time.Duration) {
	c.settle(time.Now().Add(settleLimit))
	c.mu.Lock()
	target := c.now().Add(d)
	for len(c.timers) > 0 && !c.next().due.After(target) {
		c.pass(c.next())
		c.mu.Unlock()
		wait(quiet)
		c.settle(time.Now().Add(settleLimit))
		c.mu.Lock()
	}
	if rest := target.Sub(c.now()); rest > 0 {
		c.move(rest)
	}
	c.mu.Unlock()
}

// settle returns when all processes wait for something, or at the end.
func (c *virtualClock) settle(end time.Time) {
	for !c.idle() && time.Now().Before(end) {
		wait(quiet / 5)
	}
}

func wait(d time.Duration) {
	t := time.NewTimer(d)
	<-t.C
}

// stop ends the skipping.
func (c *virtualClock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skips = false
	if c.check != nil {
		c.check.Stop()
	}
}
