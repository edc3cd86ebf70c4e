//go:build linux

package embedded_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctrdkit/containerd/embedded"
)

// traces are the places where a daemon can leave something.
type traces struct {
	root, state string
}

// tracesOf returns the traces of a daemon; root is empty for a temporary one.
func tracesOf(t testing.TB, d *embedded.Daemon, root string) traces {
	t.Helper()
	if root == "" {
		found, err := filepath.Glob(filepath.Join(os.TempDir(), "containerd-root-*"))
		require.NoError(t, err)
		require.Len(t, found, 1, "the test needs a TMPDIR of its own")
		root = found[0]
	}
	return traces{root: root, state: filepath.Dir(d.Address())}
}

// requireNothingLeft checks that no process, mount, cgroup, or state of the
// daemon exists.
func (tr traces) requireNothingLeft(t testing.TB) {
	t.Helper()
	assert.NoDirExists(t, tr.state)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	for line := range strings.Lines(string(mounts)) {
		assert.False(t, strings.Contains(line, tr.root) || strings.Contains(line, tr.state), "mount left: %s", line)
	}
	assert.Empty(t, tr.processes(t), "processes left")
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		left, err := filepath.Glob(pattern + embedded.CgroupParent(tr.root))
		require.NoError(t, err)
		assert.Empty(t, left, "cgroups left")
	}
}

// processes returns the command lines of the daemon's processes: all of them
// name its state directory, or have a binary or working directory in its root.
func (tr traces) processes(t testing.TB) []string {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	require.NoError(t, err)
	var found []string
	for _, dir := range dirs {
		cmdline, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		cwd, _ := os.Readlink(filepath.Join(dir, "cwd"))
		exe, _ := os.Readlink(filepath.Join(dir, "exe"))
		for _, s := range []string{string(cmdline), cwd, exe} {
			if strings.Contains(s, tr.state) || strings.Contains(s, tr.root) {
				found = append(found, dir+" "+strings.ReplaceAll(string(cmdline), "\x00", " "))
				break
			}
		}
	}
	return found
}

// requireResources checks that the test's own process ends up with the
// goroutines and open files that it had.
func requireResources(t testing.TB) func() {
	t.Helper()
	files := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(entries)
	}
	goroutinesBefore, filesBefore := runtime.NumGoroutine(), files()
	return func() {
		t.Helper()
		// Goroutines that were told to end need a moment.
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		deadline := time.Now().Add(5 * time.Second)
		for runtime.NumGoroutine() > goroutinesBefore || files() > filesBefore {
			if time.Now().After(deadline) {
				stacks := make([]byte, 1<<20)
				t.Fatalf("%d goroutines and %d files were %d and %d\n%s", runtime.NumGoroutine(), files(),
					goroutinesBefore, filesBefore, stacks[:runtime.Stack(stacks, true)])
			}
			<-tick.C
		}
	}
}

// requireEnd waits until a process that need not be a child has ended.
func requireEnd(t testing.TB, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		return
	}
	require.NoError(t, err)
	defer unix.Close(fd)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 30_000)
		if err == unix.EINTR {
			continue
		}
		require.NoError(t, err)
		require.Equal(t, 1, n, "process %d lives on", pid)
		return
	}
}
