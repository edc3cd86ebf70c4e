package rootfs

import (
	"errors"
	"fmt"
	"os"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// maxAttempts bounds how often Open asks the kernel. One attempt takes
// microseconds; libpathrs, which runc uses, makes as many.
const maxAttempts = 128

// Open opens a file below root for reading, as a process with that root would:
// no link leads out. It does not wait for a FIFO's other end. Its errors are
// those of openat2(2), and an unavailable one where the kernel could not tell
// that a path stays below root.
func Open(root *os.File, name string) (*os.File, error) {
	for range maxAttempts {
		fd, err := unix.Openat2(int(root.Fd()), name, &unix.OpenHow{
			Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
		})
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			// Anything was mounted or renamed on this machine while the kernel
			// followed a "..": openat2(2) has the caller try again.
			continue
		case err != nil:
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
		return os.NewFile(uintptr(fd), name), nil
	}
	return nil, fmt.Errorf("open %q: mounts and renames get in the way of every attempt: %w", name, errdefs.ErrUnavailable)
}
