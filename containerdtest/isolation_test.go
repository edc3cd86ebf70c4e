package containerdtest_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdtest"
	"github.com/ctrdkit/containerd/internal/leaks"
)

// life is a test that ends when it is told to.
type life struct {
	testing.TB
	dir      string
	cleanups []func()
}

func (l *life) TempDir() string  { return l.dir }
func (l *life) Cleanup(f func()) { l.cleanups = append(l.cleanups, f) }

func (l *life) end() {
	for _, f := range slices.Backward(l.cleanups) {
		f()
	}
}

// BenchmarkNew starts a fake, and ends it outside the measured time.
func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		life := &life{TB: b, dir: b.TempDir()}
		containerdtest.New(life)
		b.StopTimer()
		life.end()
		b.StartTimer()
	}
}

// lead runs a test's part in a life of its own, and checks that nothing of it is
// left: no goroutine, no open file, and no file.
func lead(t *testing.T, part func(w *world)) {
	t.Helper()
	dir := t.TempDir()
	before := leaks.Take()
	life := &life{TB: t, dir: dir}
	fake := containerdtest.New(life)
	fake.AddImage("app", containerdtest.Image{})
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	defer cancel()
	part(&world{fake, t, fake.NewClient(), namespaces.WithNamespace(ctx, containerd.DefaultNamespace)})
	life.end()

	var left []string
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); <-time.After(pause) {
		runtime.GC() // containerd leaves a descriptor of each content store to it
		if left = leaks.Take().Since(before); len(left) == 0 {
			break
		}
	}
	assert.Empty(t, left)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, entries)
}

func TestAFakeLeavesNothing(t *testing.T) {
	for name, part := range map[string]func(w *world){
		"without any use": func(*world) {},
		"with tasks in every state": func(w *world) {
			w.start("running", "pause")
			w.await(w.start("stopped", "true"))
			require.NoError(w.t, w.start("paused", "pause").Pause(w.ctx))
			_, err := w.create("created", "pause").NewTask(w.ctx, cio.NullIO)
			require.NoError(w.t, err)
		},
		"with 100 processes": func(w *world) {
			task := w.start("web", "pause")
			var all sync.WaitGroup
			for i := range 100 {
				all.Go(func() {
					_, _, err := w.begin(task, fmt.Sprint("e", i), cio.Config{}, "sh", "-c", "sleep 3600 | sleep 3600")
					assert.NoError(w.t, err)
				})
			}
			all.Wait()
		},
		"with streams that nobody reads": func(w *world) {
			task := w.start("web", "pause")
			at := fifos(w.t, "out", "err")
			for _, path := range at {
				f, err := os.OpenFile(path, os.O_RDWR, 0)
				require.NoError(w.t, err)
				defer f.Close()
			}
			for _, config := range []cio.Config{{Stdout: at[0], Stderr: at[1]}, {Stdout: at[0], Terminal: true}} {
				_, _, err := w.begin(task, fmt.Sprint("e", config.Terminal), config, "zeros", "1000000")
				require.NoError(w.t, err)
			}
		},
		"with a start that waits for readers": func(w *world) {
			task := w.start("web", "pause")
			at := fifos(w.t, "out", "err")
			require.Error(w.t, w.beginInVain(task, "e", cio.Config{Stdout: at[0], Stderr: at[1]}, "true"))
		},
		"while its daemon is away": func(w *world) {
			w.start("web", "pause")
			w.Crash()
		},
		"with logs": func(w *world) {
			w.create("web", "sh", "-c", "echo x; pause")
			_, err := w.LaunchTask(w.ctx, "web", containerd.LaunchTaskRequest{IO: containerd.LogIO{}})
			require.NoError(w.t, err)
		},
		"with a handler that goes on for a moment": func(w *world) {
			w.Handle(containerdtest.Command("app"), func(ctx context.Context, p *containerdtest.Proc) int {
				<-ctx.Done()
				return int(sha256.Sum256(make([]byte, 16<<20))[0])
			})
			task := w.start("web", "app")
			require.NoError(w.t, task.Kill(w.ctx, syscall.SIGKILL))
		},
	} {
		t.Run(name, func(t *testing.T) { lead(t, part) })
	}
}

func TestAFaultThatHangsEveryRequestDoesNotOutliveTheTest(t *testing.T) {
	lead(t, func(w *world) {
		w.start("web", "pause")
		hangs := make(chan struct{}, 10)
		w.Inject(func(op containerdtest.Op) error {
			hangs <- struct{}{}
			<-op.Context().Done()
			return nil
		})
		done := make(chan error, 2)
		go func() { done <- w.StopTask(w.ctx, "web", nil) }()
		go func() { _, err := w.plain.Version(w.ctx); done <- err }()
		received(w.t, hangs)
		received(w.t, hangs)
	})
}

func TestFakesShareNothing(t *testing.T) {
	t.Parallel()
	one, two := newWorld(t), newWorld(t)
	one.Handle(containerdtest.Command("app"), says("played"))
	one.start("web", "pause")
	list, err := two.ListContainers(two.ctx)
	require.NoError(t, err)
	assert.Empty(t, list)
	_, err = two.create("web", "app").NewTask(two.ctx, cio.NullIO)
	require.Error(t, err)
	two.Crash()
	_, err = one.plain.Version(one.ctx)
	require.NoError(t, err)
	one.Inject(func(containerdtest.Op) error { return context.Canceled })
	two.Recover()
	require.Eventually(t, func() bool { _, err := two.plain.Version(two.ctx); return err == nil }, testLimit, pause)
}

func TestManyFakesAtOnce(t *testing.T) {
	t.Parallel()
	for i := range 32 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			name := fmt.Sprint("c", i)
			w.start(name, "pause")
			r, err := w.ExecTask(w.ctx, name, containerd.ExecTaskRequest{Args: []string{"sh", "-c", fmt.Sprint("exit ", i)}})
			require.NoError(t, err)
			assert.EqualValues(t, i, r.ExitCode)
			require.NoError(t, w.StopTask(w.ctx, name, nil))
			require.NoError(t, w.DeleteContainer(w.ctx, name, nil))
		})
	}
}
