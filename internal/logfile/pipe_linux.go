package logfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// growPipe makes a pipe larger, as far as the user may.
func growPipe(fd int) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, pipeSize)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EBUSY) {
		return nil
	}
	return err
}

// inPipe returns how many bytes a pipe has in it.
func inPipe(fd int) (int, error) { return unix.IoctlGetInt(fd, unix.TIOCINQ) }

// askAddress returns the address of a log's socket, until release is called. A
// socket's address has room for 107 bytes only, so it goes through a descriptor.
func askAddress(dir string) (address string, release func() error, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	return filepath.Join(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), askName), f.Close, nil
}
