package logfile

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// watchDir returns a stream that has something to read whenever a file of dir
// was made, written or removed; nil if the user has too many such already.
func watchDir(dir string) (io.ReadCloser, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENOSYS) {
		return nil, nil
	} else if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	_, err = unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_MODIFY|unix.IN_DELETE)
	if errors.Is(err, unix.ENOSPC) {
		return nil, f.Close()
	} else if err != nil {
		return nil, errors.Join(&os.PathError{Op: "inotify_add_watch", Path: dir, Err: err}, f.Close())
	}
	return f, nil
}
