package containerd

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stuck is what can't be undone until it is let go.
type stuck struct {
	free  atomic.Bool
	tried chan string
}

func newStuck() *stuck { return &stuck{tried: make(chan string, 1000)} }

// leftover is an undo of what.
func (st *stuck) leftover(what string) *undo {
	u := &undo{}
	u.push(what, func(context.Context) error {
		st.tried <- what
		if st.free.Load() {
			return nil
		}
		return errdefs.ErrUnavailable
	})
	return u
}

func TestCleanerTriesUntilItSucceeds(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	clock := stopClock(s)
	st := newStuck()
	s.cleaner.add("a", s, st.leftover("thing"))
	for range 3 {
		assert.Equal(t, "thing", received(t, st.tried))
		clock.pass(t, cleanerPause)
	}
	assert.Equal(t, "thing", received(t, st.tried))
	clock.await(t, cleanerPause)
	st.free.Store(true)
	clock.pass(t, cleanerPause)

	require.NoError(t, s.Close())
	assert.Len(t, st.tried, 1, "not again after it succeeded")
}

func TestCleanerHasOneWorker(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	clock := stopClock(s)
	st := newStuck()
	for _, id := range []string{"a", "b", "c", "a"} {
		s.cleaner.add(id, s, st.leftover(id))
	}
	clock.await(t, cleanerPause)
	clock.mu.Lock()
	timers := len(clock.timers)
	clock.mu.Unlock()
	assert.Equal(t, 2, timers, "one worker's end and pause")
	st.free.Store(true)
	clock.pass(t, cleanerPause)

	require.NoError(t, s.Close())
}

func TestCleanerGivesUpAfterItsLifetime(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	clock := stopClock(s)
	st := newStuck()
	s.cleaner.add("a", s, st.leftover("thing"))
	clock.await(t, cleanerPause)
	clock.dropTimers(cleanerPause) // only the end is left
	clock.advance(cleanerLifetime)
	s.cleaner.worker.Wait()
	// What is left is named, and is finished by the next call on the ID,
	assert.Contains(t, s.cleaner.pending, "a")
	st.free.Store(true)
	unlock, err := s.lockID(t.Context(), "a")
	require.NoError(t, err)
	unlock()
	assert.Empty(t, s.cleaner.pending)
	// and a new leftover gets a new worker.
	s.cleaner.add("b", s, st.leftover("other"))
	require.NoError(t, s.Close())
	assert.Empty(t, s.cleaner.pending)
}

// dropTimers forgets the timers of a length, as if they never elapsed.
func (c *fakeClock) dropTimers(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for timer := range c.timers {
		if timer.length == d {
			delete(c.timers, timer)
		}
	}
}

func TestCloseWaitsForTheCleanerAndNamesWhatIsLeft(t *testing.T) {
	d := newDaemon(t)
	s := newService(d.client, config{namespace: testNamespace})
	clock := stopClock(s)
	st := newStuck()
	s.cleaner.add("a", s, st.leftover(`snapshot "a"`))
	s.cleaner.add("b", s, st.leftover("lease"))
	clock.await(t, cleanerPause)
	clock.dropTimers(cleanerPause)

	closed := async(s.Close)
	<-s.closed
	select {
	case err := <-closed:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
	clock.advance(cleanerLifetime)
	err := received(t, closed)

	require.Error(t, err)
	assert.Contains(t, err.Error(), `left behind for "a": snapshot "a"`)
	assert.Contains(t, err.Error(), `left behind for "b": lease`)
	assert.Equal(t, err, s.Close(), "closing again says the same")
}

func TestCleanerStartsNoWorkerAfterClose(t *testing.T) {
	d := newDaemon(t)
	s := newService(d.client, config{namespace: testNamespace})
	require.NoError(t, s.Close())
	st := newStuck()

	s.cleaner.add("a", s, st.leftover("thing"))

	s.cleaner.worker.Wait()
	assert.Empty(t, st.tried)
	assert.ErrorContains(t, s.cleaner.close(), "thing")
}

func TestNextCallOnTheIDFinishesWhatIsLeft(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	clock := stopClock(s)
	st := newStuck()
	s.cleaner.add("idle", s, st.leftover("thing"))
	clock.await(t, cleanerPause)

	err := s.DeleteContainer(t.Context(), "idle", nil)
	assertError(t, err, opDeleteContainer, errdefs.IsUnavailable, "it can't be finished yet")
	assert.Contains(t, err.Error(), "thing")
	require.NotNil(t, d.record("idle"))

	st.free.Store(true)
	require.NoError(t, s.DeleteContainer(t.Context(), "idle", nil))
	clock.pass(t, cleanerPause)
}

func TestLeftoversOfOneIDAddUp(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	clock := stopClock(s)
	st := newStuck()
	s.cleaner.add("a", s, st.leftover("first"))
	clock.await(t, cleanerPause)
	s.cleaner.add("a", s, st.leftover("second"))
	assert.Equal(t, "first, second", s.cleaner.pending["a"].undo.describe())
	st.free.Store(true)
	clock.pass(t, cleanerPause)
	require.NoError(t, s.Close())
}
