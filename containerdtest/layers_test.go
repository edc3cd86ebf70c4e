package containerdtest_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/containerd/v2/pkg/rootfs"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctrdkit/containerd/containerdtest"
	"github.com/ctrdkit/containerd/internal/testimage"
)

// commands is a file that brings the built-in commands to an image.
var commands = testimage.File{Path: "bin/builtin", Mode: 0o755, Content: []byte("all commands of package containerdtest\n")}

func file(path, text string) testimage.File {
	return testimage.File{Path: path, Content: []byte(text)}
}

func dir(path string, mode int64) testimage.File {
	return testimage.File{Path: path + "/", Type: tar.TypeDir, Mode: mode}
}

func TestLayersAreAppliedOneOverTheOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ref := w.pullLayers(
		testimage.Layer{Files: []testimage.File{
			dir("bin", 0), commands, dir("a", 0), file("a/kept", "1"), file("a/gone", "1"), file("a/new", "1"),
			dir("b", 0), file("b/gone", "1"), dir("b/dir", 0), file("b/dir/gone", "1"), file("c", "1"),
			{Path: "link", Type: tar.TypeSymlink, Link: "a/new"}, {Path: "hard", Type: tar.TypeLink, Link: "a/kept"},
		}},
		testimage.Layer{Compression: testimage.Zstd, Files: []testimage.File{
			file("a/.wh.gone", ""), file("a/new", "2"), dir("b", 0), file("b/.wh..wh..opq", ""), file("b/new", "2"),
			file(".wh.c", ""), dir("c", 0), file("c/file", "2"),
		}},
		testimage.Layer{Compression: testimage.None, Files: []testimage.File{file("a/gone", "3")}},
	)
	task := w.startIn(w.createFrom(ref, "web", []string{"pause"}))
	out, stderr, _ := w.sh(task, `for f in a/* b/* c/* link hard; do echo $f $(cat $f); done`)
	assert.Equal(t, "a/gone 3\na/kept 1\na/new 2\nb/new 2\nc/file 2\nlink 2\nhard 1\n", out, stderr)
}

func TestAnImageOfFilesThatNobodyMayTouch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	locked := []testimage.File{
		dir("bin", 0o555), commands, dir("locked", 0o500), {Path: "locked/secret", Mode: 0o1000, Content: []byte("secret")},
		dir("locked/in", 0o100), {Path: "locked/in/file", Mode: 0o004, UID: 7, GID: 8, Content: []byte("x")},
		{Path: "root", Type: tar.TypeReg, Mode: 0o4711, Content: []byte("setuid")},
		dir("dev", 0), {Path: "dev/sda", Type: tar.TypeBlock, Major: 8}, {Path: "dev/tty", Type: tar.TypeChar, Major: 5},
		{Path: "pipe", Type: tar.TypeFifo, Mode: 0o600},
	}
	ref := w.pullLayers(testimage.Layer{Files: locked}, testimage.Layer{Files: []testimage.File{file("locked/in/more", "y")}})
	task := w.startIn(w.createFrom(ref, "web", []string{"pause"}))

	out, stderr, code := w.sh(task, "cat locked/secret locked/in/*; ls dev; [ -p pipe ] && mkdir locked/new && chmod 0 locked && ls locked; rm -rf locked/in && echo x >bin/y")
	assert.Equal(t, "secretxymqueue\npts\nshm\nin\nnew\nsecret\n", out, "everybody is let at everything, and devices are left out")
	assert.Empty(t, stderr)
	assert.Equal(t, 0, code)

	require.NoError(t, w.StopTask(w.ctx, "web", nil))
	require.NoError(t, w.CommitSnapshot(w.ctx, "overlayfs", "committed", "web"))
	require.NoError(t, w.PrepareSnapshot(w.ctx, "overlayfs", "copy", "committed"))
	require.NoError(t, w.plain.SnapshotService("overlayfs").Remove(w.ctx, "copy"))
	assert.Error(t, w.plain.SnapshotService("overlayfs").Remove(w.ctx, "copy"))
}

func TestAttributesThatOnlyRootCanSetAreLeftOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var layer bytes.Buffer
	tw := tar.NewWriter(&layer)
	require.NoError(t, tw.WriteHeader(&tar.Header{
		Name: "ping", Mode: 0o755, Typeflag: tar.TypeReg, Format: tar.FormatPAX,
		PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x20" + string(make([]byte, 14))},
	}))
	require.NoError(t, tw.Close())
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromBytes(layer.Bytes()), Size: int64(layer.Len())}
	ctx, done, err := w.plain.WithLease(w.ctx)
	require.NoError(t, err)
	require.NoError(t, content.WriteBlob(ctx, w.plain.ContentStore(), "ping", &layer, desc))
	mounts, err := w.plain.SnapshotService("native").Prepare(ctx, "ping", "")
	require.NoError(t, err)

	applied, err := w.plain.DiffService().Apply(ctx, desc, mounts)
	require.NoError(t, err)
	assert.Equal(t, desc.Digest, applied.Digest)
	assert.FileExists(t, filepath.Join(mounts[0].Source, "ping"))
	n, err := unix.Lgetxattr(filepath.Join(mounts[0].Source, "ping"), "security.capability", nil)
	require.Error(t, err, "%d bytes", n)
	require.NoError(t, done(w.ctx))
}

func TestAnArchiveIsImported(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := newWorld(t)
	other.AddImage("greeting", containerdtest.Image{Files: map[string]string{"/etc/greeting": "hello"}})
	var exported bytes.Buffer
	err := other.plain.Export(other.ctx, &exported, archive.WithImage(other.plain.ImageService(), "docker.io/library/greeting:latest"))
	require.NoError(t, err)

	list, err := w.plain.Import(w.ctx, &exported)
	require.NoError(t, err)
	require.Len(t, list, 1)
	assert.Equal(t, "docker.io/library/greeting:latest", list[0].Name)
	task := w.startIn(w.createFrom("greeting", "web", []string{"pause"}))
	out, _, _ := w.sh(task, "cat /etc/greeting")
	assert.Equal(t, "hello", out)
}

// entries returns the names of what is in a layer.
func (w *world) entries(layer ocispec.Descriptor) (names []string) {
	w.t.Helper()
	blob, err := content.ReadBlob(w.ctx, w.plain.ContentStore(), layer)
	require.NoError(w.t, err)
	plain, err := compression.DecompressStream(bytes.NewReader(blob))
	require.NoError(w.t, err)
	defer plain.Close()
	tr := tar.NewReader(plain)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		require.NoError(w.t, err)
		names = append(names, h.Name)
	}
}

func TestTheDifferenceOfASnapshotIsALayer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	_, _, code := w.sh(task, "echo new >/etc/new; rm /etc/group; mkdir -p /a/b; ln -s /etc/new /a/link; echo run >/run/gone")
	require.Equal(t, 0, code)
	require.NoError(t, w.StopTask(w.ctx, "web", nil))

	ctx, done, err := w.plain.WithLease(w.ctx) // or garbage collection takes what it works on
	require.NoError(t, err)
	for _, mediaType := range []string{ocispec.MediaTypeImageLayer, ocispec.MediaTypeImageLayerGzip, ocispec.MediaTypeImageLayerZstd} {
		layer, err := rootfs.CreateDiff(ctx, "web", w.plain.SnapshotService("overlayfs"), w.plain.DiffService(), diff.WithMediaType(mediaType))
		require.NoError(t, err)
		assert.Equal(t, mediaType, layer.MediaType)
		names := w.entries(layer)
		assert.Contains(t, names, "etc/new")
		assert.Contains(t, names, "etc/.wh.group")
		assert.Contains(t, names, "a/link")
		assert.NotContains(t, names, "run/gone", "what is mounted is no part of it")
		assert.NotContains(t, names, "etc/passwd")

		mounts, err := w.plain.SnapshotService("overlayfs").Prepare(ctx, "other", "")
		require.NoError(t, err)
		applied, err := w.plain.DiffService().Apply(ctx, layer, mounts)
		require.NoError(t, err)
		assert.Equal(t, ocispec.MediaTypeImageLayer, applied.MediaType)
		text, err := os.ReadFile(filepath.Join(mounts[0].Source, "etc/new"))
		require.NoError(t, err)
		assert.Equal(t, "new\n", string(text))
		require.NoError(t, w.plain.SnapshotService("overlayfs").Remove(ctx, "other"))
	}
	_, err = rootfs.CreateDiff(ctx, "web", w.plain.SnapshotService("overlayfs"), w.plain.DiffService(), diff.WithMediaType("text/plain"))
	assert.True(t, errdefs.IsNotImplemented(err), "%v", err)
	require.NoError(t, done(w.ctx))
}
