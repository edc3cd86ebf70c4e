package containerd

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// writeUsers makes an image's /etc in root.
func writeUsers(t *testing.T, root string) {
	t.Helper()
	etc := filepath.Join(root, "etc")
	require.NoError(t, os.MkdirAll(etc, 0o755))
	passwd := "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/:/bin/sh\n"
	group := "root:x:0:\napp:x:1001:\nextra:x:2000:app\nwww:x:33:\n"
	require.NoError(t, os.WriteFile(filepath.Join(etc, "passwd"), []byte(passwd), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(etc, "group"), []byte(group), 0o600))
}

func TestUserOfAnImage(t *testing.T) {
	root := t.TempDir()
	writeUsers(t, root)
	mounts := []mount.Mount{{Type: "bind", Source: root}}
	for name, want := range map[string]specs.User{
		"":          {AdditionalGids: []uint32{0}},
		"app":       {UID: 1000, GID: 1001, AdditionalGids: []uint32{1001, 2000}},
		"1000":      {UID: 1000, GID: 1001, AdditionalGids: []uint32{1001, 2000}},
		"app:www":   {UID: 1000, GID: 33, AdditionalGids: []uint32{33}},
		"4711":      {UID: 4711, AdditionalGids: []uint32{0}},
		"4711:4712": {UID: 4711, GID: 4712, AdditionalGids: []uint32{4712}},
	} {
		t.Run("user "+name, func(t *testing.T) {
			found, err := lookupUser(t.Context(), mounts, name)
			require.NoError(t, err)
			assert.Equal(t, want, found)
		})
	}
}

func TestUserThatDoesNotExistIsAFailedPrecondition(t *testing.T) {
	for _, name := range []string{"nobody-here", "app:no-such-group", "-1", "4294967296"} {
		t.Run(name, func(t *testing.T) {
			d := newDaemon(t)
			writeUsers(t, d.rootfs)
			s := d.service()
			d.addImage("registry.test/user:1", ocispec.Image{
				Platform: platforms.DefaultSpec(), Config: ocispec.ImageConfig{User: name},
			})
			before := d.state()

			_, err := s.CreateContainer(t.Context(), CreateContainerRequest{ID: "new", ImageRef: "registry.test/user:1"})

			assertError(t, err, opCreateContainer, errdefs.IsFailedPrecondition, "no such user")
			assert.Contains(t, err.Error(), `image user "`+name+`"`)
			assert.Equal(t, before, d.state())
		})
	}
}

func TestUserOfAFreshSnapshotIsLookedUpOnce(t *testing.T) {
	root := t.TempDir()
	writeUsers(t, root)
	mounts := []mount.Mount{{Type: "bind", Source: root}}
	info := &imageInfo{config: ocispec.ImageConfig{User: "app"}}
	first, err := info.user(t.Context(), mounts)
	require.NoError(t, err)
	first.AdditionalGids[0] = 99

	require.NoError(t, os.RemoveAll(filepath.Join(root, "etc")))
	second, err := info.user(t.Context(), mounts)

	require.NoError(t, err)
	assert.Equal(t, []uint32{1001, 2000}, second.AdditionalGids, "callers share nothing")
}

func TestUserThatCouldNotBeLookedUpIsAskedForAgain(t *testing.T) {
	root := t.TempDir()
	mounts := []mount.Mount{{Type: "bind", Source: root}}
	info := &imageInfo{config: ocispec.ImageConfig{User: "app"}}
	_, err := info.user(t.Context(), mounts)
	require.ErrorIs(t, err, errdefs.ErrFailedPrecondition)

	writeUsers(t, root)
	found, err := info.user(t.Context(), mounts)

	require.NoError(t, err)
	assert.Equal(t, uint32(1000), found.UID)
}

// The files of a snapshot that was written to may differ from the image's.
func TestUserOfAnExistingSnapshotIsLookedUpThere(t *testing.T) {
	d := newDaemon(t)
	s := d.service()
	d.addImage("registry.test/user:1", ocispec.Image{
		Platform: platforms.DefaultSpec(), Config: ocispec.ImageConfig{User: "app"},
	})
	req := CreateContainerRequest{ID: "new", ImageRef: "registry.test/user:1", SnapshotID: "kept"}
	_, err := s.CreateContainerFromSnapshot(t.Context(), req)
	assertError(t, err, "create container from snapshot", errdefs.IsFailedPrecondition, "not there yet")

	writeUsers(t, d.rootfs)
	_, err = s.CreateContainerFromSnapshot(t.Context(), req)

	require.NoError(t, err)
}

func TestNumericUsersNeedNoFiles(t *testing.T) {
	for name, want := range map[string]bool{"": true, "1000": true, "0:0": true, "app": false, "1000:app": false, "-1": false} {
		assert.Equal(t, want, numeric(name), "%q", name)
	}
}

// Only a missing permission to look is forgiven, and only for a numeric user.
func TestUserOfARootThatCannotBeReadIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))

	_, err := lookupUser(t.Context(), []mount.Mount{{Type: "bind", Source: file}}, "1000")

	assert.Error(t, err)
}

func TestSpecialFileInTheImageBlocksNobody(t *testing.T) {
	d := newDaemon(t)
	require.NoError(t, os.Mkdir(filepath.Join(d.rootfs, "etc"), 0o755))
	require.NoError(t, unix.Mkfifo(filepath.Join(d.rootfs, "etc", "passwd"), 0o600))
	s := d.service()

	_, err := s.CreateContainer(t.Context(), newContainer)

	assertError(t, err, opCreateContainer, errdefs.IsFailedPrecondition, "a FIFO is no user list")
	assert.Contains(t, err.Error(), "etc/passwd")
}
