package containerdtest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/image-spec/identity"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdtest"
)

// judged is a test that keeps what it is failed for, and ends when it is told to.
type judged struct {
	*testing.T
	cleanups []func()
	failures []string
}

func (j *judged) Cleanup(f func()) { j.cleanups = append(j.cleanups, f) }

func (j *judged) Errorf(format string, args ...any) {
	j.failures = append(j.failures, fmt.Sprintf(format, args...))
}

func (j *judged) end() {
	for _, f := range slices.Backward(j.cleanups) {
		f()
	}
}

func createWeb(t *testing.T, fake *containerdtest.Fake) {
	t.Helper()
	_, err := fake.CreateContainer(t.Context(), containerd.CreateContainerRequest{ID: "web", ImageRef: "app"})
	require.NoError(t, err)
}

func TestAssertNoLeaksNamesWhatIsLeft(t *testing.T) {
	t.Parallel() // what others leave meanwhile is not looked for
	j := &judged{T: t}
	ctx := namespaces.WithNamespace(t.Context(), containerd.DefaultNamespace)
	fake := containerdtest.New(t)
	fake.AddImage("app", containerdtest.Image{})
	containerdtest.AssertNoLeaks(j, fake)

	createWeb(t, fake)
	_, err := fake.StartTask(ctx, "web", &containerd.StartTaskOptions{UseStdio: true})
	require.NoError(t, err)
	require.NoError(t, fake.PrepareSnapshot(ctx, "overlayfs", "kept", layers(t, fake)))
	_, err = fake.Client().LeasesService().Create(ctx, leases.WithID("mine"))
	require.NoError(t, err)
	end, ended := make(chan struct{}), make(chan struct{})
	go func() { defer close(ended); <-end }()
	t.Cleanup(func() { close(end); <-ended })
	name := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, syscall.Mkfifo(name, 0o600))
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, f.Close()) })
	j.end()

	failures := strings.Join(j.failures, "\n")
	for _, want := range []string{
		"container web", "task of container web, RUNNING", "snapshot web in overlayfs", "snapshot kept in overlayfs", "lease mine",
		"1 more of goroutine github.com/ctrdkit/containerd/containerdtest_test.TestAssertNoLeaksNamesWhatIsLeft",
		"1 more of open file " + name, "FIFOs",
	} {
		assert.Contains(t, failures, want)
	}
}

// layers returns the snapshot of the image's layers.
func layers(t *testing.T, fake *containerdtest.Fake) string {
	t.Helper()
	image, err := fake.GetImage(t.Context(), "app")
	require.NoError(t, err)
	diffs, err := image.RootFS(t.Context())
	require.NoError(t, err)
	return identity.ChainID(diffs).String()
}

func TestAssertNoLeaksIsContentWithWhatWasThereAndWhatWasRemoved(t *testing.T) {
	ctx := t.Context()
	fake := containerdtest.New(t)
	fake.AddImage("app", containerdtest.Image{})
	createWeb(t, fake)
	j := &judged{T: t}

	containerdtest.AssertNoLeaks(j, fake)
	fake.AddImage("tool", containerdtest.Image{Files: map[string]string{"/a": "b"}})
	_, err := fake.CreateContainer(ctx, containerd.CreateContainerRequest{
		ID: "job", ImageRef: "tool", SpecOpts: []oci.SpecOpts{oci.WithProcessArgs("sleep", "60")},
	})
	require.NoError(t, err)
	_, err = fake.StartTask(ctx, "job", &containerd.StartTaskOptions{UseStdio: true})
	require.NoError(t, err)
	_, err = fake.ExecTask(ctx, "job", containerd.ExecTaskRequest{Args: []string{"true"}, UseStdio: true})
	require.NoError(t, err)
	require.NoError(t, fake.DeleteTask(ctx, "job", &containerd.DeleteTaskOptions{Force: true}))
	require.NoError(t, fake.DeleteContainer(ctx, "job", nil))
	j.end()

	assert.Empty(t, j.failures)
}

func TestAssertNoLeaksHealsTheFakeFirst(t *testing.T) {
	t.Parallel() // what others leave meanwhile is not looked for
	for name, hurt := range map[string]func(*containerdtest.Fake){
		"crashed": (*containerdtest.Fake).Crash,
		"faulty": func(fake *containerdtest.Fake) {
			fake.Inject(func(containerdtest.Op) error { return errdefs.ErrUnavailable })
		},
		"hanging": func(fake *containerdtest.Fake) {
			fake.Inject(func(op containerdtest.Op) error { <-op.Context().Done(); return nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := containerdtest.New(t)
			fake.AddImage("app", containerdtest.Image{})
			j := &judged{T: t}
			containerdtest.AssertNoLeaks(j, fake)
			createWeb(t, fake)
			hurt(fake)
			j.end()

			failures := strings.Join(j.failures, "\n")
			assert.Contains(t, failures, "leak: container web")
			assert.NotContains(t, failures, "looking for leaks")
		})
	}
}

func TestAssertNoLeaksOfNothing(t *testing.T) {
	t.Parallel()
	for name, svc := range map[string]containerd.Connection{
		"nil":              nil,
		"nil service":      (*containerd.DefaultService)(nil),
		"nil client":       containerd.NewDefaultService(nil, ""),
		"fake that is nil": (*containerdtest.Fake)(nil),
	} {
		failed := &noted{T: t}
		containerdtest.AssertNoLeaks(failed, svc)
		assert.True(t, failed.failed, name)
	}
}

// noted is a test that takes note of its failure.
type noted struct {
	*testing.T
	failed bool
}

func (n *noted) Fatalf(string, ...any) { n.failed = true }
