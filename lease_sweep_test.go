package containerd

import (
	"slices"
	"testing"
	"time"

	leasesapi "github.com/containerd/containerd/api/services/leases/v1"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sweepsOf counts the requests that a service looks for leases with.
func sweepsOf(d *daemon) int {
	n := 0
	for _, method := range d.methods() {
		if method == "Leases/List" {
			n++
		}
	}
	return n
}

func TestSweepRemovesOnlyWhatIsProvenDeadOrExpired(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	later, earlier := time.Now().Add(time.Hour), time.Now().Add(-time.Minute)
	d.addLease("dead", deadOwner(), later)
	d.addLease("dead and expired", deadOwner(), earlier)
	d.addLease("expired", newOwner(), earlier)
	d.addLease("alive", newOwner(), later)
	d.addLease("not to be seen", elsewhere(), later)
	odd := map[string]string{labelOwner: "odd", "containerd.io/gc.expire": earlier.Format(time.RFC3339)}
	d.stores.leases["odd"] = &leasesapi.Lease{ID: "odd", Labels: odd}
	d.stores.leases["endless"] = &leasesapi.Lease{ID: "endless", Labels: map[string]string{labelOwner: newOwner().String()}}
	d.stores.leases["theirs"] = &leasesapi.Lease{ID: "theirs", Labels: map[string]string{"containerd.io/gc.expire": earlier.Format(time.RFC3339)}}

	_, err := s.CreateContainer(t.Context(), newContainer)

	require.NoError(t, err)
	assert.Equal(t, []string{"alive", "endless", "not to be seen", "odd", "theirs"}, d.leaseIDs())
}

func TestSweepIsDoneOncePerService(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	for _, id := range []string{"first", "second"} {
		_, err := s.CreateContainer(t.Context(), CreateContainerRequest{ID: id, ImageRef: testImage})
		require.NoError(t, err)
	}
	assert.Equal(t, 1, sweepsOf(d))
}

func TestSweepThatFailedIsTriedAgainByTheNextCall(t *testing.T) {
	for _, method := range []string{"Leases/List", "Leases/Delete"} {
		t.Run(method, func(t *testing.T) {
			d := newDaemon(t)
			s := d.service()
			clock := stopClock(s)
			d.addLease("dead", deadOwner(), clock.Now().Add(time.Hour))
			d.fail(method, errdefs.ErrUnavailable)

			_, err := s.CreateContainer(t.Context(), newContainer)
			require.NoError(t, err, "the sweep is not this call's matter")
			assert.Contains(t, d.leaseIDs(), "dead")
			d.heal()

			_, err = s.CreateContainer(t.Context(), CreateContainerRequest{ID: "second", ImageRef: testImage})
			require.NoError(t, err)
			assert.NotContains(t, d.leaseIDs(), "dead")
			assert.Equal(t, 2, sweepsOf(d))
			clock.finishCleaning(t, s)
		})
	}
}

// finishCleaning lets the service's cleaner, which may be waiting, try again.
func (c *fakeClock) finishCleaning(t *testing.T, s *DefaultService) {
	t.Helper()
	// The cleaner may be about to make its first attempt, before which it does not pause.
	require.Eventually(t, func() bool {
		c.advance(cleanerPause)
		s.cleaner.mu.Lock()
		defer s.cleaner.mu.Unlock()
		return len(s.cleaner.pending) == 0
	}, patience, waitPause)
}

func TestSweepOfALeaseThatIsGoneGoesOn(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	stopClock(s)
	d.addLease("dead", deadOwner(), time.Now().Add(time.Hour))
	d.fail("Leases/Delete", errdefs.ErrNotFound)

	alive, err := s.sweepLeases(s.scope().context(t.Context()))

	require.NoError(t, err)
	assert.Empty(t, alive)
}

func TestCallsDoNotWaitForASweepInProgress(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	s.sweep.mu.Lock()
	defer s.sweep.mu.Unlock()

	_, err := s.CreateContainer(t.Context(), newContainer)

	require.NoError(t, err)
	assert.False(t, slices.Contains(d.methods(), "Leases/List"))
}
