package reconciler_test

import (
	"context"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdtest"
	"github.com/ctrdkit/containerd/examples/reconciler"
)

func TestRunStartsWhatIsMissing(t *testing.T) {
	fake := containerdtest.New(t)
	fake.AddImage("app", containerdtest.Image{})
	r := reconciler.Reconciler{Service: fake, Label: label}

	err := r.Run(t.Context(), wanted("db", "web"))

	require.NoError(t, err)
	assert.Equal(t, []string{"db", "web"}, names(pids(t, fake)))
}

func TestLifeOnTheFake(t *testing.T) {
	testLife(t, containerdtest.New(t, containerdtest.WithVirtualTime()))
}

func TestRunRestartsWhatCrashed(t *testing.T) {
	fake := containerdtest.New(t)
	fake.AddImage("app", containerdtest.Image{Cmd: []string{"server"}})
	crash := make(chan struct{})
	fake.Handle(containerdtest.Command("server"), func(ctx context.Context, _ *containerdtest.Proc) int {
		select {
		case <-crash:
			return 1
		case <-ctx.Done():
			return 0
		}
	})
	r := reconciler.Reconciler{Service: fake, Label: label}
	run(t, r, "web")
	before := pids(t, fake)

	task, err := fake.GetTask(t.Context(), "web")
	require.NoError(t, err)
	exited, err := task.Wait(t.Context())
	require.NoError(t, err)
	crash <- struct{}{}
	code, _, err := (<-exited).Result()
	require.NoError(t, err)
	require.EqualValues(t, 1, code)
	require.Empty(t, pids(t, fake))
	run(t, r, "web")

	assert.Equal(t, []string{"web"}, names(pids(t, fake)))
	assert.NotEqual(t, before, pids(t, fake))
}

func TestRunKillsWhatDoesNotStop(t *testing.T) {
	fake := containerdtest.New(t, containerdtest.WithVirtualTime())
	fake.AddImage("app", containerdtest.Image{Cmd: []string{"stubborn"}})
	listens := make(chan struct{})
	var asked atomic.Bool
	fake.Handle(containerdtest.Command("stubborn"), func(ctx context.Context, p *containerdtest.Proc) int {
		p.Trap(syscall.SIGTERM)
		close(listens)
		if _, err := p.NextSignal(ctx); err == nil {
			asked.Store(true)
		}
		if err := p.Sleep(ctx, 24*time.Hour); err != nil {
			return 1 // killed
		}
		return 0
	})
	r := reconciler.Reconciler{Service: fake, Label: label, Grace: time.Hour}
	run(t, r, "web")
	<-listens

	began := time.Now()
	run(t, r)

	assert.True(t, asked.Load(), "it is asked to stop first")
	assert.Empty(t, pids(t, fake))
	assert.Less(t, time.Since(began), time.Minute, "the hour of grace passes at once")
}

func TestRunKnowsItsContainersAfterARestart(t *testing.T) {
	fake := containerdtest.New(t)
	fake.AddImage("app", containerdtest.Image{})
	r := reconciler.Reconciler{Service: fake, Label: label}
	run(t, r, "db", "web")
	before := pids(t, fake)

	fake.RestartDaemon()
	run(t, r, "db", "web")

	assert.Equal(t, before, pids(t, fake), "tasks run on without containerd")
}

func TestNextRunDoesWhatAFaultPrevented(t *testing.T) {
	fake := containerdtest.New(t, containerdtest.WithVirtualTime())
	containerdtest.AssertNoLeaks(t, fake)
	fake.AddImage("app", containerdtest.Image{})
	r := reconciler.Reconciler{Service: fake, Label: label}
	fake.Inject(func(op containerdtest.Op) error {
		if op.String() == "Tasks/Start" && !op.After {
			return errdefs.ErrUnavailable
		}
		return nil
	})

	err := r.Run(t.Context(), wanted("web"))
	require.True(t, errdefs.IsUnavailable(err), "%v", err)
	require.Empty(t, pids(t, fake))
	fake.Inject(nil)
	run(t, r, "web")

	assert.Equal(t, []string{"web"}, names(pids(t, fake)))
	run(t, r)
}

// TestNextRunHealsEveryLostConnection loses the connection at the first request
// of a run, then at the second, and so on, before it takes effect and after.
func TestNextRunHealsEveryLostConnection(t *testing.T) {
	for moment, after := range map[string]bool{"before": false, "after": true} {
		t.Run(moment, func(t *testing.T) {
			fake := containerdtest.New(t, containerdtest.WithVirtualTime())
			containerdtest.AssertNoLeaks(t, fake)
			fake.AddImage("app", containerdtest.Image{})
			r := reconciler.Reconciler{Service: fake, Label: label}

			var faults int
			for lost := true; lost; faults++ {
				run(t, r, "old")
				lost = runWithFault(t, fake, r, after, faults)
				run(t, r, "new")
				assert.Equal(t, []string{"new"}, names(pids(t, fake)), "request %d", faults)
				run(t, r)
			}
			t.Logf("%d requests", faults-1)
		})
	}
}

// runWithFault replaces the container old by new, while the connection is lost at
// the request that n others precede. It returns whether there is such a request.
func runWithFault(t *testing.T, fake *containerdtest.Fake, r reconciler.Reconciler, after bool, n int) bool {
	t.Helper()
	var requests atomic.Int64
	fake.Inject(func(op containerdtest.Op) error {
		if op.After == after && requests.Add(1) == int64(n+1) {
			return containerdtest.ErrCutConnection
		}
		return nil
	})
	defer fake.Inject(nil)
	err := r.Run(t.Context(), wanted("new"))
	lost := requests.Load() > int64(n)
	if !lost {
		require.NoError(t, err)
	}
	return lost
}

func TestRunBeginsNothingAfterItsContext(t *testing.T) {
	fake := containerdtest.New(t)
	fake.AddImage("app", containerdtest.Image{})
	r := reconciler.Reconciler{Service: fake, Label: label}
	ctx, cancel := context.WithCancel(t.Context())
	fake.Inject(func(op containerdtest.Op) error {
		if op.String() == "Tasks/Start" {
			cancel()
		}
		return nil
	})

	err := r.Run(ctx, wanted("db", "web"))

	require.ErrorIs(t, err, context.Canceled)
	_, err = fake.GetContainer(t.Context(), "web")
	assert.True(t, errdefs.IsNotFound(err), "%v", err)
	run(t, r, "db", "web")
	assert.Equal(t, []string{"db", "web"}, names(pids(t, fake)))
}

func TestRunLeavesOthersContainersAlone(t *testing.T) {
	fake := containerdtest.New(t)
	fake.AddImage("app", containerdtest.Image{})
	r := reconciler.Reconciler{Service: fake, Label: label}
	_, err := fake.CreateContainer(t.Context(), containerd.CreateContainerRequest{ID: "web", ImageRef: "app"})
	require.NoError(t, err)
	_, err = fake.StartTask(t.Context(), "web", nil)
	require.NoError(t, err)

	err = r.Run(t.Context(), wanted("db", "web"))
	require.True(t, errdefs.IsAlreadyExists(err), "%v", err)
	run(t, r)

	assert.Equal(t, []string{"web"}, names(pids(t, fake)))
}
