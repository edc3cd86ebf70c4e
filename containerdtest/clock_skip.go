package containerdtest

import (
	"slices"
	"time"

	"github.com/ctrdkit/containerd/internal/clock"
)

// ended says that the calls that wait for p are about to learn of its end.
func (c *virtualClock) ended(p clock.Process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for a := range c.awaited {
		if a.process == p {
			a.ended = true
			c.soonNoticed()
		}
	}
}

// soonNoticed gives a call the time to go on.
func (c *virtualClock) soonNoticed() { c.noticed = time.Now().Add(noticeTime) }

// noticing says whether a call is about to go on.
func (c *virtualClock) noticing() bool {
	if !time.Now().Before(c.noticed) {
		return false
	}
	if c.elapsed > 0 {
		return true
	}
	for a := range c.awaited {
		if a.ended {
			return true
		}
	}
	return false
}

// changed says that something has happened, so that it is not the time to skip any.
func (c *virtualClock) changed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recheck()
}

func (c *virtualClock) recheck() {
	c.changes++
	switch {
	case !c.skips:
	case c.check == nil:
		c.check = time.AfterFunc(quiet, c.skip)
	default:
		c.check.Reset(quiet)
	}
}

// skip passes the time until the next timer, if nothing else is to happen. Else
// it looks again: nobody says when a process that was about to fill a pipe has.
func (c *virtualClock) skip() {
	c.mu.Lock()
	seen := c.changes
	c.mu.Unlock()
	idle := c.idle()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.changes != seen || len(c.awaited) == 0 || len(c.timers) == 0:
		return // if something has changed, there is another look to come
	case !idle, c.noticing():
		c.recheck()
		return
	}
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
