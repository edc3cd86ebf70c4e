package containerd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ctrdkit/containerd/internal/clock"
)

const (
	cleanerLifetime = 30 * time.Second
	cleanerPause    = 200 * time.Millisecond
	cleanerAttempt  = time.Second
	cleanerAtOnce   = 16
)

// cleaner finishes what failed calls could not undo in time. It has at most
// one worker, which ends when nothing is left or after cleanerLifetime.
type cleaner struct {
	clock clock.Clock

	mu      sync.Mutex
	pending map[string]*leftover // by container ID, image reference or key
	running bool
	closed  bool
	worker  sync.WaitGroup
}

type leftover struct {
	service *DefaultService
	undo    *undo
}

// add leaves u to the worker. The caller may hold the lock of id.
func (c *cleaner) add(id string, s *DefaultService, u *undo) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending == nil {
		c.pending = make(map[string]*leftover)
	}
	if old := c.pending[id]; old != nil {
		u = &undo{steps: append(old.undo.steps, u.steps...)}
	}
	c.pending[id] = &leftover{service: s, undo: u}
	if !c.running && !c.closed {
		c.running = true
		c.worker.Go(c.work)
	}
}

// finish undoes what is pending for id, for a caller that holds its lock and
// is about to use it again.
func (c *cleaner) finish(ctx context.Context, id string) error {
	c.mu.Lock()
	left := c.pending[id]
	delete(c.pending, id)
	c.mu.Unlock()
	if left == nil {
		return nil
	}
	err := left.undo.run(left.service.scope().context(ctx))
	if len(left.undo.steps) > 0 {
		c.add(id, left.service, left.undo)
	}
	if err != nil {
		return fmt.Errorf("cleaning up after an earlier call: %w", err)
	}
	return nil
}

// holds says whether something is pending for id.
func (c *cleaner) holds(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pending[id] != nil
}

func (c *cleaner) work() {
	deadline, stop := c.clock.NewTimer(cleanerLifetime)
	defer stop()
	for {
		c.attemptAll()
		c.mu.Lock()
		if len(c.pending) == 0 {
			c.running = false
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()

		pause, stopPause := c.clock.NewTimer(cleanerPause)
		select {
		case <-pause:
		case <-deadline:
			stopPause()
			c.attemptAll()
			c.mu.Lock()
			c.running = false
			c.mu.Unlock()
			return
		}
	}
}

func (c *cleaner) snapshot() map[string]*leftover {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make(map[string]*leftover, len(c.pending))
	for id, left := range c.pending {
		all[id] = left
	}
	return all
}

// attemptAll tries once to finish everything, a few things at a time: one that
// hangs does not take the others' time.
func (c *cleaner) attemptAll() {
	var group errgroup.Group
	group.SetLimit(cleanerAtOnce)
	for id, left := range c.snapshot() {
		group.Go(func() error {
			c.attempt(id, left.service)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return // there is none
	}
}

// attempt tries once to finish what is left for id. Its error is not lost:
// what failed stays pending, and close reports it.
func (c *cleaner) attempt(id string, s *DefaultService) {
	ctx, cancel := context.WithTimeout(context.Background(), cleanerAttempt)
	defer cancel()
	s.wakeConnection(ctx)
	if unlock, err := s.lockID(ctx, id); err == nil {
		unlock()
	}
}

// close waits for the worker and says what it could not finish.
func (c *cleaner) close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.worker.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for id, left := range c.pending {
		errs = append(errs, fmt.Errorf("left behind for %s: %s", quoted(id), left.undo.describe()))
	}
	return errors.Join(errs...)
}
