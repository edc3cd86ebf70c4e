//go:build linux

package embedded_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/embedded"
)

const (
	imageRef = "example.com/guest:1"
	guestEnv = "EMBEDDED_TEST_GUEST"
)

// guest is the binary of testdata/guest, built once, or read from where another
// test process has put it.
var guest = sync.OnceValues(func() ([]byte, error) {
	if path := os.Getenv(guestEnv); path != "" {
		return os.ReadFile(path)
	}
	dir, err := os.MkdirTemp("", "guest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "guest")
	cmd := exec.Command("go", "build", "-o", out, "./testdata/guest")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	return os.ReadFile(out)
})

// imageTar returns an archive of an image with the guest as /guest, owned by
// the given IDs.
func imageTar(t testing.TB, uid, gid int) io.Reader {
	t.Helper()
	binary, err := guest()
	require.NoError(t, err)
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, dir := range []string{"proc", "dev", "sys", "run", "tmp"} {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o755}))
	}
	require.NoError(t, w.WriteHeader(&tar.Header{
		Name: "guest", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(binary)), Uid: uid, Gid: gid,
	}))
	_, err = w.Write(binary)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(layer.Bytes())), nil
	})
	require.NoError(t, err)
	img, err := mutate.AppendLayers(empty.Image, l)
	require.NoError(t, err)
	img, err = mutate.ConfigFile(img, configFile(t, img))
	require.NoError(t, err)
	tag, err := name.NewTag(imageRef)
	require.NoError(t, err)
	var archive bytes.Buffer
	require.NoError(t, tarball.Write(tag, img, &archive))
	return &archive
}

func configFile(t testing.TB, img v1.Image) *v1.ConfigFile {
	t.Helper()
	config, err := img.ConfigFile()
	require.NoError(t, err)
	config = config.DeepCopy()
	platform, err := v1.ParsePlatform("linux/" + goarch)
	require.NoError(t, err)
	config.OS, config.Architecture, config.Variant = platform.OS, platform.Architecture, platform.Variant
	config.Config.Entrypoint = []string{"/guest"}
	return config
}

// runContainer imports the image if need be and starts a container that runs
// until it is killed. Other signals may come before its process listens, and are
// then lost, as always for the first process of a PID namespace.
func runContainer(ctx context.Context, t testing.TB, client *containerd.Client, id string) containerd.Task {
	t.Helper()
	task := newTask(ctx, t, client, id)
	require.NoError(t, task.Start(ctx))
	return task
}

func newTask(ctx context.Context, t testing.TB, client *containerd.Client, id string) containerd.Task {
	t.Helper()
	img, err := client.GetImage(ctx, imageRef)
	if err != nil {
		_, err := client.Import(ctx, imageTar(t, 0, 0))
		require.NoError(t, err)
		img, err = client.GetImage(ctx, imageRef)
		require.NoError(t, err)
		require.NoError(t, img.Unpack(ctx, ""))
	}
	c, err := client.NewContainer(ctx, id,
		containerd.WithNewSnapshot(id, img),
		containerd.WithNewSpec(oci.WithImageConfig(img)))
	require.NoError(t, err)
	task, err := c.NewTask(ctx, cio.NullIO)
	require.NoError(t, err)
	return task
}

func requireRunning(ctx context.Context, t testing.TB, client *containerd.Client, id string, pid uint32) containerd.Task {
	t.Helper()
	c, err := client.LoadContainer(ctx, id)
	require.NoError(t, err)
	task, err := c.Task(ctx, nil)
	require.NoError(t, err)
	status, err := task.Status(ctx)
	require.NoError(t, err)
	require.Equal(t, containerd.Running, status.Status)
	require.Equal(t, pid, task.Pid())
	return task
}

func testContext(t testing.TB) context.Context {
	return namespaces.WithNamespace(t.Context(), "test")
}

func newClient(t testing.TB, d *embedded.Daemon) *containerd.Client {
	t.Helper()
	client, err := d.Client()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}
