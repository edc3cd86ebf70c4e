package containerdtest_test

import (
	"slices"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdtest"
)

func TestThreeLines(t *testing.T) {
	ctx := t.Context()
	fake := containerdtest.New(t)
	fake.AddImage("app", containerdtest.Image{})
	_, err := fake.CreateContainer(ctx, containerd.CreateContainerRequest{ID: "web", ImageRef: "app"})
	require.NoError(t, err)
	_, err = fake.StartTask(ctx, "web", nil)
	require.NoError(t, err)
	r, err := fake.ExecTask(ctx, "web", containerd.ExecTaskRequest{Args: []string{"sh", "-c", "echo hi >/f; cat /f; exit 3"}, UseStdio: true})
	require.NoError(t, err)
	require.EqualValues(t, 3, r.ExitCode)
	require.NoError(t, fake.StopTask(ctx, "web", nil))
	require.NoError(t, fake.DeleteContainer(ctx, "web", nil))
}

func TestVirtual(t *testing.T) {
	ctx := t.Context()
	fake := containerdtest.New(t, containerdtest.WithVirtualTime())
	fake.AddImage("app", containerdtest.Image{})
	_, err := fake.CreateContainer(ctx, containerd.CreateContainerRequest{ID: "web", ImageRef: "app", SpecOpts: []oci.SpecOpts{oci.WithProcessArgs("sleep", "3600")}})
	require.NoError(t, err)
	_, err = fake.StartTask(ctx, "web", nil)
	require.NoError(t, err)
	began := time.Now()
	require.ErrorIs(t, fake.StopTask(ctx, "web", nil), containerd.ErrTaskStopTimeout)
	t.Log(time.Since(began))
	require.NoError(t, fake.DeleteTask(ctx, "web", &containerd.DeleteTaskOptions{Force: true}))
}

// BenchmarkNew starts a fake, and ends it outside the measured time.
func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		life := &life{B: b}
		containerdtest.New(life)
		b.StopTimer()
		life.end()
		b.StartTimer()
	}
}

// life is a test that ends when the benchmark says so.
type life struct {
	*testing.B
	cleanups []func()
}

func (l *life) Cleanup(f func()) { l.cleanups = append(l.cleanups, f) }

func (l *life) end() {
	for _, f := range slices.Backward(l.cleanups) {
		f()
	}
}
