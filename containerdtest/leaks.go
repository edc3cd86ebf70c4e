package containerdtest

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/internal/leaks"
)

const (
	// leakGrace is how long what was told to end gets for it.
	leakGrace = 3 * time.Second
	leakPause = 10 * time.Millisecond
	leakLimit = 30 * time.Second
)

// AssertNoLeaks fails the test if there is more at its end than at this call:
// tasks, containers, snapshots and leases in the service's namespace, the
// service's FIFOs, and goroutines and open files of this process. What is about
// to end gets three seconds for it.
//
// A [Fake] is healed first: the function given to [Fake.Inject] is taken away,
// and a daemon that is away is started. Goroutines that come and go are not
// leaks, such as those of the check's own requests.
//
// Images and their unpacked layers are not leaks, nor is what garbage collection
// takes. Call it after what makes the service, so that the check comes before
// its end, and not in tests that run in parallel with others, whose goroutines
// and files are this process's too.
func AssertNoLeaks(t T, svc containerd.Connection) {
	t.Helper()
	if !connected(svc) {
		t.Fatalf("looking for leaks: there is no service, or it has no client")
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leakLimit)
	defer cancel()
	before, err := storedSoon(ctx, svc) // also makes the client connect
	if err != nil {
		t.Fatalf("looking at what the daemon has: %v", err)
		return
	}
	resources := leaks.Take(filesOf(svc)...)
	t.Cleanup(func() {
		t.Helper()
		if fake, ok := svc.(*Fake); ok {
			fake.heal()
		}
		ctx, cancel := context.WithTimeout(context.Background(), leakLimit)
		defer cancel()
		left, err := leftSince(ctx, svc, before, resources)
		if err != nil {
			t.Errorf("looking for leaks: %v", err)
		}
		for _, leak := range left {
			t.Errorf("leak: %s", leak)
		}
	})
}

// connected is whether there is a service with a client.
func connected(svc containerd.Connection) bool {
	if v := reflect.ValueOf(svc); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return false
	}
	return svc.Client() != nil
}

// leftSince returns what is left after leakGrace.
func leftSince(ctx context.Context, svc containerd.Connection, before []string, resources leaks.Resources) ([]string, error) {
	tick := time.NewTicker(leakPause)
	defer tick.Stop()
	for end := time.Now().Add(leakGrace); ; <-tick.C {
		stored, err := storedSoon(ctx, svc)
		if err != nil {
			return nil, err
		}
		left := slices.DeleteFunc(stored, func(line string) bool { return slices.Contains(before, line) })
		now := leaks.Take(filesOf(svc)...)
		if len(now.Since(resources)) > 0 {
			<-tick.C // what the requests have started ends
			now = now.And(leaks.Take(filesOf(svc)...))
		}
		left = append(left, now.Since(resources)...)
		if len(left) == 0 || time.Now().After(end) {
			return left, nil
		}
	}
}

// storedSoon is storedBy, when the client has found a daemon again that was away.
func storedSoon(ctx context.Context, svc containerd.Connection) ([]string, error) {
	tick := time.NewTicker(leakPause)
	defer tick.Stop()
	for end := time.Now().Add(leakGrace); ; <-tick.C {
		stored, err := storedBy(ctx, svc)
		away := errdefs.IsUnavailable(err) || errdefs.IsUnavailable(errgrpc.ToNative(err)) // clients convert some errors
		if !away || time.Now().After(end) {
			return stored, err
		}
	}
}
