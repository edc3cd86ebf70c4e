package containerd

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
)

const (
	// leaseLifetime is how long a killed process can pin what it was making.
	leaseLifetime = time.Hour
	// leaseRenewal is when a call that still runs takes the next lease.
	leaseRenewal = 45 * time.Minute
	// leaseRetry is the pause before a failed renewal is tried again.
	leaseRetry = time.Minute
)

// hold protects what a call makes from garbage collection until it is
// referenced: it takes a lease, marked as ours, and returns a context that
// carries it and ends with ctx, which outlives the call's own. A context that
// carries a lease of the caller's is used as it is. The lease's end is pushed
// on u; release ends it after success.
func (s *DefaultService) hold(ctx context.Context, op, id string, u *undo) (*heldLease, error) {
	if _, ok := leases.FromContext(ctx); ok {
		return &heldLease{Context: ctx}, nil
	}
	s.sweep.once(ctx, s)
	l := &heldLease{Context: ctx, service: s, op: op, id: id}
	u.push("lease", l.drop)
	if err := l.next(ctx); err != nil {
		return nil, err
	}
	return l, nil
}

// heldLease is a context that carries the lease of the moment: a call that
// outlives it moves on to the next without its requests noticing.
type heldLease struct {
	context.Context // the call's context, for everything but values

	service *DefaultService // nil if the lease is the caller's
	op, id  string

	mu      sync.Mutex
	ids     []string // leases that exist, or may exist
	current atomic.Pointer[leasedContext]
}

type leasedContext struct {
	context.Context
	lease leases.Lease
}

// Value looks the lease up in the current context.
func (l *heldLease) Value(key any) any {
	if c := l.current.Load(); c != nil {
		return c.Value(key)
	}
	return l.Context.Value(key)
}

// until returns a context that carries the lease and ends with ctx: for what
// is to be cut short when the call's context ends.
func (l *heldLease) until(ctx context.Context) context.Context {
	return &leasedUntil{Context: ctx, lease: l}
}

type leasedUntil struct {
	context.Context
	lease *heldLease
}

// Value looks values up where the lease is.
func (u *leasedUntil) Value(key any) any { return u.lease.Value(key) }

// has reports whether the lease id is one that the call took.
func (l *heldLease) has(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.ids, id)
}

// next takes a lease and makes it the current one.
func (l *heldLease) next(ctx context.Context) error {
	id := "ctrdkit-" + strings.ToLower(rand.Text())
	l.mu.Lock()
	l.ids = append(l.ids, id)
	l.mu.Unlock()
	lease, err := l.service.client.LeasesService().Create(ctx,
		leases.WithID(id),
		leases.WithExpiration(leaseLifetime),
		leases.WithLabel(labelOwner, l.service.owner.String()),
		leases.WithLabel(labelOperation, l.op+" "+quoted(l.id)),
	)
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	l.current.Store(&leasedContext{Context: leases.WithLease(l.Context, lease.ID), lease: lease})
	return nil
}

// renew takes the next lease, moves everything on to it, and ends the earlier ones.
func (l *heldLease) renew(ctx context.Context) error {
	if err := l.next(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.current.Load().lease
	for l.ids[0] != now.ID {
		if err := l.move(ctx, leases.Lease{ID: l.ids[0]}, now); err != nil && !errdefs.IsNotFound(err) {
			return err // what is left of it is moved by the next renewal
		}
		l.ids = l.ids[1:]
	}
	return nil
}

func (l *heldLease) move(ctx context.Context, from, to leases.Lease) error {
	manager := l.service.client.LeasesService()
	resources, err := manager.ListResources(ctx, from)
	if err != nil {
		return err
	}
	for _, r := range resources {
		if err := manager.AddResource(ctx, to, r); err != nil {
			return err
		}
	}
	return manager.Delete(ctx, from)
}

// keep renews the lease whenever it is due, until the function it returns is called.
func (l *heldLease) keep() (stop func()) {
	if l.service == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(l.Context)
	var wg sync.WaitGroup
	wg.Go(func() {
		for wait := leaseRenewal; ; {
			due, release := l.service.clock.NewTimer(wait)
			select {
			case <-due:
			case <-ctx.Done():
				release()
				return
			}
			wait = leaseRenewal
			if l.renew(ctx) != nil {
				wait = leaseRetry // the old lease still protects for a while
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

// drop ends every lease that was taken. It is an undo step.
func (l *heldLease) drop(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.ids) > 0 {
		last := len(l.ids) - 1
		err := l.service.client.LeasesService().Delete(ctx, leases.Lease{ID: l.ids[last]})
		if err != nil && !errdefs.IsNotFound(err) {
			return err
		}
		l.ids = l.ids[:last]
	}
	return nil
}

// release ends the lease after success. The call has reached its goal, so an
// end that fails is not its error: the cleaner tries again.
func (l *heldLease) release() {
	if l.service == nil {
		return
	}
	ctx, cancel := context.WithTimeout(l.Context, undoLimit)
	defer cancel()
	u := &undo{}
	u.push("lease", l.drop)
	if u.run(ctx) != nil {
		l.service.cleaner.add("lease "+l.ids[0], l.service, u)
	}
}

// sweeper removes the leases of processes that are proven dead, and with them
// what those processes left half-made.
type sweeper struct {
	mu   sync.Mutex
	done bool
}

// once sweeps at the service's first need. A sweep that fails is tried again
// by the next call: it is no reason for this one to fail.
func (sw *sweeper) once(ctx context.Context, s *DefaultService) {
	if !sw.mu.TryLock() {
		return // somebody else is at it
	}
	defer sw.mu.Unlock()
	if sw.done {
		return
	}
	_, err := s.sweepLeases(ctx)
	sw.done = err == nil
}

// sweepLeases removes dead owners' leases, waiting for the garbage collection,
// and returns the leases of owners that may be alive.
func (s *DefaultService) sweepLeases(ctx context.Context) (alive []leases.Lease, err error) {
	manager := s.client.LeasesService()
	all, err := manager.List(ctx, `labels."`+labelOwner+`"`)
	if err != nil {
		return nil, err
	}
	for _, lease := range all {
		o, err := parseOwner(lease.Labels[labelOwner])
		if err != nil || !o.dead() && !expired(lease, s.clock.Now()) {
			alive = append(alive, lease)
			continue
		}
		err = manager.Delete(ctx, lease, leases.SynchronousDelete)
		if err != nil && !errdefs.IsNotFound(err) {
			return nil, err
		}
	}
	return alive, nil
}

func expired(lease leases.Lease, now time.Time) bool {
	end, err := time.Parse(time.RFC3339, lease.Labels["containerd.io/gc.expire"])
	return err == nil && now.After(end)
}
