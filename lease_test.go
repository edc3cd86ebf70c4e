package containerd

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	leasesapi "github.com/containerd/containerd/api/services/leases/v1"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// leaseIDs returns the leases there are, sorted.
func (d *daemon) leaseIDs() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.stores.leases))
}

// held returns the IDs of a lease's resources.
func (d *daemon) held(lease string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var ids []string
	for _, r := range d.stores.resources[lease] {
		ids = append(ids, r.GetID())
	}
	return ids
}

// addResources makes the daemon add what a request made to the lease.
func (d *daemon) addResources(lease string, ids ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range ids {
		d.stores.resources[lease] = append(d.stores.resources[lease], &leasesapi.Resource{ID: id, Type: "content"})
	}
}

// longPull is a pull that goes on until finish is called.
type longPull struct {
	*daemon
	clock  *fakeClock
	finish func()
	done   <-chan error
	lease  string // the first one
}

func startLongPull(t *testing.T) *longPull {
	t.Helper()
	d := newDaemon(t)
	begun, goOn := make(chan struct{}), make(chan struct{})
	s := d.service(WithResolver(&tagRegistry{desc: d.target(testImage), before: func(ctx context.Context) error {
		close(begun)
		select {
		case <-goOn:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}))
	p := &longPull{daemon: d, clock: stopClock(s), finish: func() { close(goOn) }}
	p.done = async(func() error { _, err := s.PullImage(t.Context(), testImage, nil); return err })
	received(t, begun)
	require.Len(t, d.leaseIDs(), 1)
	p.lease = d.leaseIDs()[0]
	d.addResources(p.lease, "manifest", "layer")
	return p
}

// end finishes the pull, which must have succeeded and dropped every lease.
func (p *longPull) end(t *testing.T) {
	t.Helper()
	p.finish()
	require.NoError(t, received(t, p.done))
	assert.Empty(t, p.leaseIDs())
}

func TestLeaseIsMarkedAndLastsAnHour(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	var taken []*leasesapi.Lease
	d.once("Snapshots/Prepare", func(context.Context) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		taken = slices.Collect(maps.Values(d.stores.leases))
		return nil
	})
	before := time.Now().Add(leaseLifetime).Truncate(time.Second)
	_, err := s.CreateContainer(t.Context(), newContainer)
	require.NoError(t, err)

	require.Len(t, taken, 1)
	labels := taken[0].GetLabels()
	end, err := time.Parse(time.RFC3339, labels["containerd.io/gc.expire"])
	require.NoError(t, err)
	assert.WithinRange(t, end, before, time.Now().Add(time.Hour))
	assert.Equal(t, s.owner.String(), labels[labelOwner])
	assert.Contains(t, labels[labelOperation], opCreateContainer)
	assert.Contains(t, labels[labelOperation], `"new"`)
	assert.Empty(t, d.leaseIDs(), "nothing is held after the call")
}

func TestLongPullMovesEverythingToTheNextLease(t *testing.T) {
	p := startLongPull(t)
	for range 3 {
		before := p.leaseIDs()
		p.clock.pass(t, leaseRenewal)
		p.clock.await(t, leaseRenewal) // the renewal is over
		require.Len(t, p.leaseIDs(), 1)
		now := p.leaseIDs()[0]
		assert.NotContains(t, before, now)
		assert.Equal(t, []string{"manifest", "layer"}, p.held(now))
	}
	p.end(t)
}

func TestFailedRenewalIsTriedAgainAfterAMinute(t *testing.T) {
	for _, method := range []string{"Leases/Create", "Leases/ListResources", "Leases/AddResource", "Leases/Delete"} {
		t.Run(method, func(t *testing.T) {
			p := startLongPull(t)
			p.fail(method, errdefs.ErrUnavailable)
			p.clock.pass(t, leaseRenewal)
			p.clock.await(t, leaseRetry)
			assert.Contains(t, p.leaseIDs(), p.lease, "the old lease still protects")
			assert.Equal(t, []string{"manifest", "layer"}, p.held(p.lease))

			p.heal()
			p.clock.pass(t, leaseRetry)
			p.clock.await(t, leaseRenewal)

			require.Len(t, p.leaseIDs(), 1, "every earlier lease has ended")
			now := p.leaseIDs()[0]
			assert.NotEqual(t, p.lease, now)
			assert.Subset(t, p.held(now), []string{"manifest", "layer"})
			p.end(t)
		})
	}
}

func TestLeaseThatVanishedIsRenewedAllTheSame(t *testing.T) {
	p := startLongPull(t)
	p.mu.Lock()
	clear(p.stores.leases) // as a clock that jumps can make the daemon do
	p.mu.Unlock()

	p.clock.pass(t, leaseRenewal)
	p.clock.await(t, leaseRenewal)

	assert.Len(t, p.leaseIDs(), 1)
	p.end(t)
}

func TestEveryLeaseEndsAfterARenewalThatFailed(t *testing.T) {
	p := startLongPull(t)
	p.fail("Leases/AddResource", errdefs.ErrUnavailable)
	p.clock.pass(t, leaseRenewal)
	p.clock.await(t, leaseRetry)
	require.Len(t, p.leaseIDs(), 2, "the old and the next")
	p.end(t)
}

// A container's creation that has to fetch its image's layers is a pull too.
func TestLongUnpackOfACreateRenewsItsLease(t *testing.T) {
	d := newDaemon(t)
	begun, goOn := make(chan struct{}), make(chan struct{})
	finish := sync.OnceFunc(func() { close(goOn) })
	t.Cleanup(finish)
	d.forgetLayer(func() error { close(begun); <-goOn; return nil })
	s := d.service()
	clock := stopClock(s)
	done := async(func() error { _, err := s.CreateContainer(t.Context(), newContainer); return err })
	received(t, begun)
	first := d.leaseIDs()

	clock.pass(t, leaseRenewal)
	clock.await(t, leaseRenewal)

	assert.NotEqual(t, first, d.leaseIDs())
	finish()
	require.NoError(t, received(t, done))
	assert.Empty(t, d.leaseIDs())
}

func TestLeaseOfTheCallerIsUsedAsItIs(t *testing.T) {
	for name, call := range map[string]func(context.Context, *DefaultService) error{
		opCreateContainer: func(ctx context.Context, s *DefaultService) error {
			_, err := s.CreateContainer(ctx, newContainer)
			return err
		},
		opPullImage: func(ctx context.Context, s *DefaultService) error {
			_, err := s.PullImage(ctx, testImage, nil)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDaemon(t)
			s := d.service(WithResolver(&tagRegistry{desc: d.target(testImage)}))
			d.stores.leases["theirs"] = &leasesapi.Lease{ID: "theirs"}

			require.NoError(t, call(leases.WithLease(t.Context(), "theirs"), s))

			assert.Equal(t, []string{"theirs"}, d.leaseIDs())
			assert.False(t, slices.ContainsFunc(d.methods(), func(m string) bool { return strings.HasPrefix(m, "Leases/") }), "%v", d.methods())
		})
	}
}

func TestLeaseThatCannotBeTakenFailsTheCall(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	before := d.state()
	d.fail("Leases/Create", errdefs.ErrPermissionDenied)

	_, err := s.CreateContainer(t.Context(), newContainer)

	assertError(t, err, opCreateContainer, errdefs.IsPermissionDenied, "no lease")
	assert.Equal(t, before, d.state())
}

func TestLeaseThatCannotBeEndedIsTheCleaners(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	clock := stopClock(s)
	d.fail("Leases/Delete", errdefs.ErrUnavailable)

	_, err := s.CreateContainer(t.Context(), newContainer)

	require.NoError(t, err, "the goal is reached")
	require.Len(t, d.leaseIDs(), 1)
	clock.await(t, cleanerPause)
	d.heal()
	clock.pass(t, cleanerPause)
	require.NoError(t, s.Close())
	assert.Empty(t, d.leaseIDs())
}

func TestContextWithALeaseEndsWithItsOwnParent(t *testing.T) {
	type key struct{}
	d := newDaemon(t)
	s := d.service()
	lasting := s.scope().context(context.WithValue(t.Context(), key{}, "value"))
	u := &undo{}
	lease, err := s.hold(lasting, "test", "id", u)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	until := lease.until(ctx)

	id, ok := leases.FromContext(until)
	assert.True(t, ok)
	assert.Equal(t, []string{id}, d.leaseIDs())
	assert.Equal(t, "value", until.Value(key{}))
	cancel()
	assert.ErrorIs(t, until.Err(), context.Canceled)
	assert.NoError(t, lease.Err())
	require.NoError(t, u.run(lasting))
	assert.Empty(t, d.leaseIDs())
}
