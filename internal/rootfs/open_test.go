//go:build linux

package rootfs

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Given a file that is renamed all the time elsewhere on the machine, which
// makes the kernel give up a path with ".." now and then; when such a path is
// opened; then it opens nevertheless.
func TestOpenWhileSomethingIsRenamed(t *testing.T) {
	dir := layer(t, map[string]string{passwd: "users"})
	require.NoError(t, os.Symlink("../../../etc/../etc/passwd", filepath.Join(dir, "link")))
	root, err := os.Open(dir)
	require.NoError(t, err)
	defer func() { assert.NoError(t, root.Close()) }()
	if runtime.NumCPU() == 1 {
		t.Skip("on one CPU nothing is renamed while a path is followed")
	}
	renameAllTheTime(t)

	const enough = 20
	how := &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT}
	refused := 0
	for deadline := time.Now().Add(time.Minute); refused < enough && time.Now().Before(deadline); {
		fd, err := unix.Openat2(int(root.Fd()), "link", how)
		if errors.Is(err, unix.EAGAIN) {
			refused++
		} else {
			require.NoError(t, err)
			require.NoError(t, unix.Close(fd))
		}

		f, err := Open(root, "link")
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	require.Equal(t, enough, refused, "times that the kernel has given up")
}

// renameAllTheTime renames a file to and fro until the test ends.
func renameAllTheTime(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	from, to := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	require.NoError(t, os.WriteFile(from, nil, 0o600))
	stop, stopped := make(chan struct{}), make(chan struct{})
	procs := runtime.GOMAXPROCS(max(2, runtime.GOMAXPROCS(0)))
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if !assert.NoError(t, os.Rename(from, to)) {
				return
			}
			from, to = to, from
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-stopped
		runtime.GOMAXPROCS(procs)
	})
}
