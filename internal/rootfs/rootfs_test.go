//go:build linux

package rootfs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const passwd = "etc/passwd"

// layer makes a directory with the given files.
func layer(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := inside(t, root, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	return root
}

// inside returns the path of name within root, whose directory it makes.
func inside(t *testing.T, root, name string) string {
	t.Helper()
	path := filepath.Join(root, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	return path
}

// whiteout makes the mark of an overlay that name was removed.
func whiteout(t *testing.T, root, name string) {
	t.Helper()
	require.NoError(t, unix.Mknod(inside(t, root, name), unix.S_IFCHR, 0))
}

func bind(root string) []mount.Mount {
	return []mount.Mount{{Type: "bind", Source: root, Options: []string{"rbind"}}}
}

func TestFilesOfABindMount(t *testing.T) {
	root := layer(t, map[string]string{passwd: "users", "etc/group": "", "other": "x"})

	files, err := ReadFiles(t.Context(), bind(root), passwd, "etc/shadow", "etc/group")

	require.NoError(t, err)
	require.Len(t, files, 3)
	assert.Equal(t, "users", string(files[0]))
	assert.Nil(t, files[1], "it does not exist")
	assert.NotNil(t, files[2], "it is empty, but there")
	assert.Empty(t, files[2])
}

func TestFilesThatNobodyCanReadWithProfit(t *testing.T) {
	for name, create := range map[string]func(t *testing.T, path string){
		"FIFO":      func(t *testing.T, path string) { require.NoError(t, unix.Mkfifo(path, 0o600)) },
		"directory": func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o700)) },
		"socket": func(t *testing.T, path string) {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			require.NoError(t, err)
			defer func() { assert.NoError(t, unix.Close(fd)) }()
			t.Chdir(filepath.Dir(path)) // the path is too long for a socket
			require.NoError(t, unix.Bind(fd, &unix.SockaddrUnix{Name: filepath.Base(path)}))
		},
		"link to itself": func(t *testing.T, path string) { require.NoError(t, os.Symlink("passwd", path)) },
		"link to a FIFO": func(t *testing.T, path string) {
			require.NoError(t, unix.Mkfifo(filepath.Join(filepath.Dir(path), "fifo"), 0o600))
			require.NoError(t, os.Symlink("/etc/fifo", path))
		},
		"file that is too large": func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path, nil, 0o600))
			require.NoError(t, os.Truncate(path, maxFile+1))
		},
		"file in a file": func(t *testing.T, path string) {
			require.NoError(t, os.Remove(filepath.Dir(path)))
			require.NoError(t, os.WriteFile(filepath.Dir(path), nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			create(t, inside(t, root, passwd))

			_, err := ReadFiles(t.Context(), bind(root), passwd)

			require.ErrorIs(t, err, ErrUnusable)
			require.ErrorIs(t, err, errdefs.ErrFailedPrecondition)
			assert.Contains(t, err.Error(), passwd)
		})
	}
}

func TestLargestFile(t *testing.T) {
	root := layer(t, map[string]string{passwd: ""})
	require.NoError(t, os.Truncate(filepath.Join(root, passwd), maxFile))

	files, err := ReadFiles(t.Context(), bind(root), passwd)

	require.NoError(t, err)
	assert.Len(t, files[0], maxFile)
}

func TestLinksStayWithinTheRoot(t *testing.T) {
	for name, target := range map[string]string{
		"relative":            "../usr/users",
		"absolute":            "/usr/users",
		"more dots than dirs": "../../../../../../../../usr/users",
		"over another link":   "/lib/users",
	} {
		t.Run(name, func(t *testing.T) {
			root := layer(t, map[string]string{"usr/users": "users"})
			require.NoError(t, os.Symlink("/usr", filepath.Join(root, "lib")))
			require.NoError(t, os.Symlink(target, inside(t, root, passwd)))

			files, err := ReadFiles(t.Context(), bind(root), passwd)

			require.NoError(t, err)
			assert.Equal(t, "users", string(files[0]))
		})
	}
}

func TestLinksDoNotReachTheHost(t *testing.T) {
	// Given a file outside the root, and links to it from within.
	host := layer(t, map[string]string{"secret": "secret"})
	for _, target := range []string{
		filepath.Join(host, "secret"),
		"../../" + filepath.Base(host) + "/secret",
	} {
		root := t.TempDir()
		require.NoError(t, os.Symlink(target, inside(t, root, passwd)))

		files, err := ReadFiles(t.Context(), bind(root), passwd)

		require.NoError(t, err)
		assert.Nil(t, files[0], target)
	}
}

func TestTheUppermostLayerThatHasAFileGivesIt(t *testing.T) {
	upper := layer(t, map[string]string{passwd: "upper"})
	lower := layer(t, map[string]string{passwd: "lower", "etc/group": "lower"})

	files, err := readLayers([]string{upper, lower}, []string{passwd, "etc/group", "etc/shadow"})

	require.NoError(t, err)
	assert.Equal(t, [][]byte{[]byte("upper"), []byte("lower"), nil}, files)
}

func TestFileThatAnUpperLayerRemoved(t *testing.T) {
	for name, removed := range map[string]string{"the file": passwd, "its directory": "etc"} {
		t.Run(name, func(t *testing.T) {
			upper := t.TempDir()
			whiteout(t, upper, removed)
			lower := layer(t, map[string]string{passwd: "lower"})

			files, err := readLayers([]string{upper, lower}, []string{passwd})

			require.NoError(t, err)
			assert.Nil(t, files[0])
		})
	}
}

func TestUnusableFileOfAnUpperLayerIsNotReplacedByALowerOne(t *testing.T) {
	upper := t.TempDir()
	require.NoError(t, unix.Mkfifo(inside(t, upper, passwd), 0o600))
	lower := layer(t, map[string]string{passwd: "lower"})

	_, err := readLayers([]string{upper, lower}, []string{passwd})

	assert.ErrorIs(t, err, ErrUnusable)
}

// A root that can't be seen from here is not a root without files: a user
// would silently get other groups than the image says.
func TestRootThatIsMissingIsAnError(t *testing.T) {
	_, err := ReadFiles(t.Context(), bind(filepath.Join(t.TempDir(), "gone")), passwd)
	assert.Error(t, err)
}

func TestRootThatIsNoDirectoryIsAnError(t *testing.T) {
	root := layer(t, map[string]string{"file": ""})
	_, err := ReadFiles(t.Context(), bind(filepath.Join(root, "file")), passwd)
	assert.Error(t, err)
}

func TestMountsThatCannotBeMountedAreAnError(t *testing.T) {
	for name, mounts := range map[string][]mount.Mount{
		"unknown type": {{Type: "no-such-fs", Source: t.TempDir()}},
		"two mounts":   {{Type: "no-such-fs"}, {Type: "bind", Source: t.TempDir()}},
	} {
		_, err := ReadFiles(t.Context(), mounts, passwd)
		assert.Error(t, err, name)
	}
}

func TestLayersOfMounts(t *testing.T) {
	for name, test := range map[string]struct {
		mounts []mount.Mount
		want   []string
	}{
		"bind":         {bind("/a"), []string{"/a"}},
		"rbind":        {[]mount.Mount{{Type: "rbind", Source: "/a"}}, []string{"/a"}},
		"overlay":      {overlay("workdir=/w", "upperdir=/u", "lowerdir=/l1:/l2"), []string{"/u", "/l1", "/l2"}},
		"lower first":  {overlay("lowerdir=/l1", "upperdir=/u"), []string{"/u", "/l1"}},
		"view":         {overlay("lowerdir=/l1:/l2"), []string{"/l1", "/l2"}},
		"another type": {[]mount.Mount{{Type: "ext4", Source: "/dev/x"}}, nil},
		"two":          {append(bind("/a"), bind("/b")...), nil},
		"none":         {nil, nil},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, test.want, layers(test.mounts)) })
	}
}

func overlay(options ...string) []mount.Mount {
	return []mount.Mount{{Type: "overlay", Source: "overlay", Options: options}}
}

func TestReadingLeavesNoDescriptorOpen(t *testing.T) {
	root := layer(t, map[string]string{passwd: "users"})
	require.NoError(t, unix.Mkfifo(filepath.Join(root, "fifo"), 0o600))
	before := openFiles(t)
	for range 10 {
		_, err := readLayers([]string{root}, []string{passwd, "missing"})
		require.NoError(t, err)
		_, err = readLayers([]string{root}, []string{"fifo"})
		require.Error(t, err)
	}
	assert.Equal(t, before, openFiles(t))
}

// openFiles lists what this process has open within temporary directories.
func openFiles(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	var open []string
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && strings.HasPrefix(target, os.TempDir()) {
			open = append(open, target)
		}
	}
	return open
}
