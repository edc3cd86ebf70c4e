package containerd

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// signalProcess signals a process of the container that the daemon has no name
// for. The daemon must be on this machine. A process that has ended is not found.
func signalProcess(pid uint32, containerID string, signal syscall.Signal) error {
	fd, err := unix.PidfdOpen(int(pid), 0)
	if err != nil {
		return gone(err)
	}
	file := os.NewFile(uintptr(fd), "pidfd")
	defer closeRead(file)
	if !inCgroupOf(pid, containerID) {
		return errdefs.ErrNotFound // it has ended, and another one has its PID
	}
	return gone(unix.PidfdSendSignal(fd, signal, nil, 0))
}

// gone returns not-found for a process that has ended.
func gone(err error) error {
	switch {
	case errors.Is(err, unix.ESRCH):
		return errdefs.ErrNotFound
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: %w", err, errdefs.ErrPermissionDenied)
	}
	return err
}
