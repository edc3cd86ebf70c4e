//go:build linux

package embedded_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/embedded"
)

const goarch = runtime.GOARCH

// runcPath returns the OCI runtime for the tests: $RUNC, or the checkout's tool
// folder's, or the empty string for the one on PATH.
func runcPath(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("RUNC"); path != "" {
		return path
	}
	dir, err := os.Getwd()
	require.NoError(t, err)
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
			continue
		}
		path := filepath.Join(dir, ".tools", "bin", "runc")
		if _, err := os.Stat(path); err == nil {
			return path
		}
		break
	}
	return ""
}

func startDaemon(t testing.TB, opts embedded.Options) *embedded.Daemon {
	t.Helper()
	if opts.Runtime == "" {
		opts.Runtime = runcPath(t)
	}
	if opts.Log == nil {
		opts.Log = t.Output()
	}
	d, err := embedded.Start(t.Context(), &opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

func TestCloseLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	_, err := guest()
	require.NoError(t, err)
	check := requireResources(t)
	d, err := embedded.Start(t.Context(), &embedded.Options{Runtime: runcPath(t)})
	require.NoError(t, err)
	tr := tracesOf(t, d, "")
	client, err := d.Client()
	require.NoError(t, err)
	ctx := testContext(t)

	running := runContainer(ctx, t, client, "running")
	paused := runContainer(ctx, t, client, "paused")
	if os.Geteuid() == 0 { // pausing needs a cgroup
		require.NoError(t, paused.Pause(ctx))
	}
	newTask(ctx, t, client, "created")
	stopped := runContainer(ctx, t, client, "stopped")
	exited, err := stopped.Wait(ctx)
	require.NoError(t, err)
	require.NoError(t, stopped.Kill(ctx, syscall.SIGKILL))
	<-exited
	orphan := runContainer(ctx, t, client, "orphan")
	require.NoError(t, client.ContainerService().Delete(ctx, "orphan"))

	require.NoError(t, client.Close())
	require.NoError(t, d.Close())
	require.NoError(t, d.Close(), "Close is idempotent")
	<-d.Done()
	for _, task := range []containerd.Task{running, paused, orphan} {
		requireEnd(t, int(task.Pid()))
	}
	tr.requireNothingLeft(t)
	left, err := os.ReadDir(os.TempDir())
	require.NoError(t, err)
	assert.Empty(t, left)
	check()
}

func TestRuntimeInfo(t *testing.T) {
	d := startDaemon(t, embedded.Options{})
	client := newClient(t, d)
	ctx := testContext(t)
	info, err := client.RuntimeInfo(ctx, "io.containerd.runc.v2", nil)
	require.NoError(t, err)
	f, ok := info.Features.(*features.Features)
	require.True(t, ok)
	require.NotNil(t, f.Linux.Seccomp)

	version, err := client.Version(ctx)
	require.NoError(t, err)
	assert.NotEmpty(t, version.Version)
	serving, err := client.IsServing(ctx)
	require.NoError(t, err)
	assert.True(t, serving)
	server, err := client.Server(ctx)
	require.NoError(t, err)
	assert.NotEmpty(t, server.UUID)
}

func TestSameNamespaceAndID(t *testing.T) {
	ctx := testContext(t)
	one := startDaemon(t, embedded.Options{})
	two := startDaemon(t, embedded.Options{})
	first := runContainer(ctx, t, newClient(t, one), "a")
	second := runContainer(ctx, t, newClient(t, two), "a")
	require.NotEqual(t, first.Pid(), second.Pid())
	require.NoError(t, one.Close())
	status, err := second.Status(ctx)
	require.NoError(t, err)
	require.Equal(t, containerd.Running, status.Status)
}

func TestManyAtOnce(t *testing.T) {
	for i := range 6 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			d := startDaemon(t, embedded.Options{Log: io.Discard})
			ctx := testContext(t)
			task := runContainer(ctx, t, newClient(t, d), "a")
			require.NoError(t, d.Close())
			requireEnd(t, int(task.Pid()))
			require.NoDirExists(t, filepath.Dir(d.Address()))
		})
	}
}

func TestGivenState(t *testing.T) {
	parent, err := os.MkdirTemp("/tmp", "")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(parent)) })
	opts := embedded.Options{Root: filepath.Join(parent, "root"), State: filepath.Join(parent, "state")}
	ctx := testContext(t)
	d := startDaemon(t, opts)
	require.Equal(t, filepath.Join(opts.State, "containerd.sock"), d.Address())
	pid := runContainer(ctx, t, newClient(t, d), "a").Pid()
	require.NoError(t, d.Detach())

	other := opts
	other.Root = filepath.Join(parent, "other")
	other.Runtime = runcPath(t)
	d = startDaemon(t, opts)
	_, err = embedded.Start(t.Context(), &other)
	require.True(t, errdefs.IsFailedPrecondition(err), "%v", err)
	assert.Contains(t, err.Error(), opts.State)
	requireRunning(ctx, t, newClient(t, d), "a", pid)
	require.NoError(t, d.Close())
	left, err := os.ReadDir(opts.State)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestCloseEndsCallsInProgress(t *testing.T) {
	d := startDaemon(t, embedded.Options{})
	client := newClient(t, d)
	ctx := testContext(t)
	task := runContainer(ctx, t, client, "a")
	exited, err := task.Wait(ctx)
	require.NoError(t, err)
	_, failed := client.Subscribe(ctx)
	require.NoError(t, d.Close())
	require.Error(t, <-failed)
	status := <-exited
	require.Error(t, status.Error())
}

func TestNativeSnapshotterByDefault(t *testing.T) {
	d := startDaemon(t, embedded.Options{Snapshotter: "native"})
	client := newClient(t, d)
	ctx := testContext(t)
	runContainer(ctx, t, client, "a")
	c, err := client.LoadContainer(ctx, "a")
	require.NoError(t, err)
	info, err := c.Info(ctx)
	require.NoError(t, err)
	require.Equal(t, "native", info.Snapshotter)
}

func TestImportAloneCostsNothing(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestHelperIdle$", "-test.v")
	cmd.Env = append(os.Environ(), helperEnv+"=idle")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}
