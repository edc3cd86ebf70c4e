package containerdtest_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/containerdtest"
)

// once returns a fault that calls act at one moment of the first request of a kind.
func once(name string, after bool, act func(containerdtest.Op) error) func(containerdtest.Op) error {
	var first sync.Once
	return func(op containerdtest.Op) (err error) {
		if op.String() == name && op.After == after {
			first.Do(func() { err = act(op) })
		}
		return err
	}
}

// back waits until the client has found the daemon again.
func (w *world) back() {
	w.t.Helper()
	require.Eventually(w.t, func() bool { _, err := w.plain.Version(w.ctx); return err == nil }, testLimit, pause)
}

func TestADaemonDiesAtExactlyOneRequest(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		for name, die := range map[string]func(*containerdtest.Fake){
			"crash":   (*containerdtest.Fake).Crash,
			"restart": (*containerdtest.Fake).RestartDaemon,
		} {
			t.Run(fmt.Sprintf("%s, after is %v", name, after), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				died := make(chan struct{})
				w.Inject(once("Containers/Create", after, func(containerdtest.Op) error {
					defer close(died)
					die(w.Fake)
					return nil // nobody is there to do or answer it
				}))

				err := native(w.put("web"))
				require.True(t, errdefs.IsUnavailable(err), "%v", err)
				received(t, died)
				w.Recover()
				w.back()
				assert.Equal(t, after, w.has("web"))
			})
		}
	}
}

func TestACrashDoesNotWaitForAFault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	asked, crashed := make(chan containerdtest.Op, 1), make(chan struct{})
	w.Inject(once("Containers/Create", false, func(op containerdtest.Op) error {
		asked <- op
		<-crashed
		return nil
	}))
	put := make(chan error, 1)
	go func() { put <- w.put("web") }()
	op := received(t, asked)

	w.Crash()
	received(t, op.Context().Done())
	err := native(received(t, put))
	require.True(t, errdefs.IsUnavailable(err), "%v", err)
	w.Recover()
	w.back()
	close(crashed)
	assert.False(t, w.has("web"), "a request of the daemon that died is not done by the next one")
}

func TestATestsEndNamesAFaultThatDoesNotReturn(t *testing.T) {
	t.Parallel()
	j := &judged{T: t}
	fake := containerdtest.New(j)
	asked, release := make(chan struct{}), make(chan struct{})
	fake.Inject(once("Containers/Get", false, func(containerdtest.Op) error {
		close(asked)
		<-release
		return nil
	}))
	got := make(chan error, 1)
	go func() { _, err := fake.GetContainer(t.Context(), "web"); got <- err }()
	received(t, asked)
	j.end()
	close(release)

	require.Error(t, received(t, got))
	require.Len(t, j.failures, 1)
	assert.Contains(t, j.failures[0], "Containers/Get")
}

func TestRestartsAtTheSameTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.put("web"))
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 3 {
				w.RestartDaemon()
			}
		})
	}
	all.Wait()
	w.back()
	assert.True(t, w.has("web"))
}

func TestAFaultThatEndsItsGoroutineIsAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, after := range []bool{false, true} {
		w.Inject(once("Containers/Create", after, func(containerdtest.Op) error {
			runtime.Goexit() // as t.FailNow does
			return nil
		}))
		err := native(w.put("web"))
		require.True(t, errdefs.IsAborted(err), "%v", err)
		assert.Equal(t, after, w.has("web"))
	}
}
