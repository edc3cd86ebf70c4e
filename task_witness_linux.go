package containerd

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// witness sees a process of this machine end, whatever the daemon does
// meanwhile. Its zero value sees nothing.
type witness struct {
	file *os.File // a pidfd
	done chan struct{}
	at   time.Time // when the process ended, zero if that was not seen; set before done is closed
}

// watchProcess watches a container's first process, if that can be done: it
// must be a process of this machine, and of that container.
func watchProcess(pid uint32, containerID string) *witness {
	w := &witness{done: make(chan struct{})}
	if pid == 0 || pid > maxPID {
		close(w.done)
		return w
	}
	fd, err := unix.PidfdOpen(int(pid), unix.PIDFD_NONBLOCK)
	if err != nil {
		close(w.done)
		return w
	}
	w.file = os.NewFile(uintptr(fd), fmt.Sprintf("pidfd of %d", pid))
	// The descriptor is of the process that had the PID when it was opened. If
	// that is in the container's cgroup, it is the container's.
	if !inCgroupOf(pid, containerID) || pidfdEnded(fd) {
		close(w.done)
		return w
	}
	go w.watch()
	return w
}

// maxPID is the highest process ID of Linux.
const maxPID = 1 << 22

func (w *witness) watch() {
	defer close(w.done)
	conn, err := w.file.SyscallConn()
	if err != nil {
		return
	}
	err = conn.Read(func(fd uintptr) bool { return pidfdEnded(int(fd)) })
	if err != nil {
		return
	}
	w.at = time.Now()
}

// pidfdEnded says whether the process of a pidfd has ended.
func pidfdEnded(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0
}

// result returns how the process ended, if it was seen to.
func (w *witness) result() (exit, bool) {
	if w.file == nil {
		return exit{}, false
	}
	conn, err := w.file.SyscallConn()
	if err != nil {
		return exit{}, false
	}
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	var ioctlErr error
	err = conn.Control(func(fd uintptr) {
		if ioctlErr = unix.ESRCH; pidfdEnded(int(fd)) {
			ioctlErr = unix.IoctlPidfdInfo(int(fd), &info)
		}
	})
	// A kernel that does not keep the code clears the bit that asked for it.
	if err = errors.Join(err, ioctlErr); err != nil || info.Mask&unix.PIDFD_INFO_EXIT == 0 {
		return exit{}, false
	}
	<-w.done // it is about to see the same
	if w.at.IsZero() {
		return exit{}, false
	}
	status := unix.WaitStatus(info.Exit_code)
	if status.Signaled() {
		return exit{code: exitedBySignal + uint32(status.Signal()), at: w.at}, true
	}
	return exit{code: uint32(status.ExitStatus()), at: w.at}, true
}

// stop ends the watch, and returns when it has ended.
func (w *witness) stop() {
	if w.file != nil {
		closeRead(w.file)
	}
	<-w.done
}

// isHere says whether the daemon's processes are those of this machine, by the
// first one of a container.
func isHere(pid uint32, containerID string) bool {
	return pid != 0 && pid <= maxPID && inCgroupOf(pid, containerID)
}

// inCgroupOf says whether a process of this machine is in the cgroup that
// runtimes make for a container by default: one whose name, or the end of it
// (with systemd), is the container's ID.
func inCgroupOf(pid uint32, containerID string) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return false
	}
	for line := range bytes.Lines(text) {
		fields := strings.SplitN(strings.TrimSuffix(string(line), "\n"), ":", 3)
		if len(fields) == 3 && isCgroupOf(fields[2], containerID) {
			return true
		}
	}
	return false
}

// isCgroupOf says whether dir, or a directory above it, is the container's.
func isCgroupOf(dir, containerID string) bool {
	for ; dir != "/" && dir != "." && dir != ""; dir = path.Dir(dir) {
		name := strings.TrimSuffix(path.Base(dir), ".scope")
		if name == containerID || strings.HasSuffix(name, "-"+containerID) && strings.HasSuffix(dir, ".scope") {
			return true
		}
	}
	return false
}
