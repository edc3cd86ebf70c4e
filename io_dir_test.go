package containerd

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestRuntimeBases(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("XDG_RUNTIME_DIR", "relative")
	bases := runtimeBases()
	for _, base := range bases {
		assert.True(t, filepath.IsAbs(base), base)
	}
	assert.True(t, strings.HasPrefix(bases[len(bases)-1], os.TempDir()), "the last resort: %v", bases)
	assert.Equal(t, os.Geteuid() == 0, bases[0] == "/run/ctrdkit", "the superuser's")

	dir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", dir)
	assert.Contains(t, runtimeBases(), filepath.Join(dir, "ctrdkit"))
}

func TestRuntimeDirIsPrivate(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	dir, err := runtimeDir("stdio")
	require.NoError(t, err)
	info, err := os.Stat(filepath.Dir(dir))
	require.NoError(t, err)
	assert.Zero(t, info.Mode().Perm()&0o022, "nobody else can write there")
}

func TestCheckPrivate(t *testing.T) {
	base := t.TempDir()
	private, open := filepath.Join(base, "private"), filepath.Join(base, "open")
	require.NoError(t, os.Mkdir(private, 0o700))
	require.NoError(t, os.Mkdir(open, 0o700))
	require.NoError(t, os.Chmod(open, 0o777))
	file, link := filepath.Join(base, "file"), filepath.Join(base, "link")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.NoError(t, os.Symlink(private, link))

	require.NoError(t, checkPrivate(private))
	for _, path := range []string{open, file, link} {
		assert.True(t, errdefs.IsPermissionDenied(checkPrivate(path)), path)
	}
	assert.ErrorIs(t, checkPrivate(filepath.Join(base, "nothing")), fs.ErrNotExist)
}

// A file system's error is not a daemon that is away.
func TestErrorsOfFIFODirsKeepTheirClass(t *testing.T) {
	failed := func(err error) error { return native(&fs.PathError{Op: "mkdir", Path: "/x", Err: err}) }
	assert.True(t, errdefs.IsPermissionDenied(failed(unix.EACCES)), "%v", failed(unix.EACCES))
	assert.True(t, errdefs.IsNotFound(failed(unix.ENOENT)), "%v", failed(unix.ENOENT))
	assert.False(t, errdefs.IsUnavailable(failed(unix.ENOSPC)), "%v", failed(unix.ENOSPC))
}

// daemonless returns a service for what needs no daemon.
func daemonless() *DefaultService { return NewDefaultService(nil, testNamespace) }

func TestFIFODirsGoBelowTheRuntimeDirByDefault(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	s := daemonless()
	base, err := runtimeDir("stdio")
	require.NoError(t, err)
	dir, err := s.makeFIFODir("")
	require.NoError(t, err)
	assert.Equal(t, base, filepath.Dir(dir))
	info, err := os.Stat(dir)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o700), info.Mode().Perm())
	require.NoError(t, removeFIFODir(dir))
	assert.NoDirExists(t, dir)
}

func TestFIFODirThatCanNotBeMade(t *testing.T) {
	s := daemonless()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, base := range []string{file, filepath.Join(file, "below")} {
		_, err := s.makeFIFODir(base)
		assert.ErrorContains(t, err, file)
	}
}

func TestRemoveFIFODir(t *testing.T) {
	t.Run("that is gone is fine", func(t *testing.T) {
		require.NoError(t, removeFIFODir(filepath.Join(t.TempDir(), "gone")))
	})
	t.Run("removes nothing that it did not make", func(t *testing.T) {
		dir := t.TempDir()
		theirs := filepath.Join(dir, "theirs")
		require.NoError(t, os.WriteFile(theirs, nil, 0o600))
		require.Error(t, removeFIFODir(dir))
		assert.FileExists(t, theirs)
	})
	t.Run("stops at what can't be removed", func(t *testing.T) {
		dir := t.TempDir()
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "stdin", "theirs"), 0o700))
		require.Error(t, removeFIFODir(dir))
		assert.DirExists(t, filepath.Join(dir, "stdin", "theirs"))
	})
}

func TestFIFODirOwner(t *testing.T) {
	for _, name := range []string{"theirs", fifoPrefix + "x", fifoPrefix + "a_b-ABCDEFGH", ""} {
		_, ours := fifoDirOwner(filepath.Join("/run", name))
		assert.False(t, ours, name)
	}
}

// leftDir makes what a dead process left of its FIFOs.
func leftDir(t *testing.T, s *DefaultService, base string) string {
	t.Helper()
	dead := s.owner
	dead.start = "1"
	dir := filepath.Join(base, fifoPrefix+strings.ReplaceAll(dead.String(), "/", "_")+"-ABCDEFGH")
	require.NoError(t, os.Mkdir(dir, 0o700))
	for _, name := range fifoNames {
		require.NoError(t, unix.Mkfifo(filepath.Join(dir, name), 0o600))
	}
	return dir
}

func TestSweepRemovesFIFOsThatNobodyHasOpen(t *testing.T) {
	s := daemonless()
	base := t.TempDir()
	dir := leftDir(t, s, base)
	s.fifoSweep.once(base)
	assert.NoDirExists(t, dir)
}

func TestSweepLeavesTheFIFOsOfATaskThatRunsAlone(t *testing.T) {
	for _, name := range fifoNames {
		t.Run(name, func(t *testing.T) {
			s := daemonless()
			base := t.TempDir()
			dir := leftDir(t, s, base)
			shim, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
			require.NoError(t, err)
			s.fifoSweep.once(base)
			assert.DirExists(t, dir)
			require.NoError(t, shim.Close())
		})
	}
}

func TestSweepLeavesWhatIsNoFIFOAlone(t *testing.T) {
	s := daemonless()
	base := t.TempDir()
	dir := leftDir(t, s, base)
	stdin := filepath.Join(dir, "stdin")
	require.NoError(t, os.Remove(stdin))
	require.NoError(t, os.Symlink("/dev/null", stdin))
	s.fifoSweep.once(base)
	assert.DirExists(t, dir, "a link is not followed")
}

func TestSweepHappensOncePerDirectory(t *testing.T) {
	s := daemonless()
	base := t.TempDir()
	s.fifoSweep.once(filepath.Join(base, "nothing"))
	s.fifoSweep.once(base)
	dir := leftDir(t, s, base)
	s.fifoSweep.once(base)
	assert.DirExists(t, dir, "left to the next service")
	other := t.TempDir()
	dir = leftDir(t, s, other)
	s.fifoSweep.once(other)
	assert.NoDirExists(t, dir)
}

func TestSweepStopsAtWhatCanNotBeRemoved(t *testing.T) {
	s := daemonless()
	base := t.TempDir()
	dir := leftDir(t, s, base)
	theirs := filepath.Join(dir, "theirs")
	require.NoError(t, os.WriteFile(theirs, nil, 0o600))
	s.fifoSweep.once(base)
	assert.FileExists(t, theirs)
}
