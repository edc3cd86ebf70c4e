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
	// answerTime bounds how long no time is skipped because clients are about to
	// learn of an exit: not all of them say when they have.
	answerTime = 250 * time.Millisecond
	// noticeTime is the same for a call of the library whose time is up.
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
	waits   int // calls that wait for a process
	check   *time.Timer
	idle    func() bool

	// Calls that are about to learn of an exit, or that their time is up, and until
	// when at the latest.
	answers, elapsed  int
	answered, noticed time.Time
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
			c.noticed = time.Now().Add(noticeTime)
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
func (c *virtualClock) AwaitProcess() (done func()) {
	count := func(n int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.waits += n
		c.recheck()
	}
	count(1)
	return func() {
		c.mu.Lock()
		c.answers = max(0, c.answers-1)
		c.mu.Unlock()
		count(-1)
	}
}

// ended says that n requests that wait for a process are about to be answered,
// and with them as many calls.
func (c *virtualClock) ended(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers += n
	c.answered = time.Now().Add(answerTime)
}

// changed says that something has happened, so that it is not the time to skip any.
func (c *virtualClock) changed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recheck()
}

func (c *virtualClock) recheck() {
	switch {
	case !c.skips:
	case c.check == nil:
		c.check = time.AfterFunc(quiet, c.skip)
	default:
		c.check.Reset(quiet)
	}
}

// skip passes the time until the next timer, if nothing else is to happen.
func (c *virtualClock) skip() {
	if !c.idle() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.waits == 0 || len(c.timers) == 0:
		return
	case c.answers > 0 && time.Now().Before(c.answered), c.elapsed > 0 && time.Now().Before(c.noticed):
		c.recheck()
		return
	}
	c.answers, c.elapsed = 0, 0
	c.pass(c.next())
	c.recheck()
}

func (c *virtualClock) next() *processTimer {
	return slices.MinFunc(c.timers, func(a, b *processTimer) int { return a.due.Compare(b.due) })
}

// pass makes it the time of t.
func (c *virtualClock) pass(t *processTimer) {
	if d := t.due.Sub(c.now()); d > 0 {
		c.move(d)
	}
	c.fire(t)
}

// move passes time, for all timers.
func (c *virtualClock) move(d time.Duration) {
	c.skipped += d
	now := c.now()
	for _, t := range c.timers {
		t.real.Reset(max(0, t.due.Sub(now)))
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
