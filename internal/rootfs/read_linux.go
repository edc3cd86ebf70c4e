package rootfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// errWhiteout says that an overlay's upper layer removed the file.
var errWhiteout = errors.New("whiteout")

// readFile opens name within dir as its root, without waiting for a FIFO's
// other end, and reads it if it is a regular file of sane size.
func readFile(dir, name string) (_ []byte, err error) {
	root, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if errors.Is(err, unix.ENOENT) {
		// Not to be taken for a file that does not exist in it.
		return nil, fmt.Errorf("root file system %s is not there: %w", dir, errdefs.ErrFailedPrecondition)
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	f, err := Open(root, name)
	if errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV) {
		return nil, specialFile(root, name)
	}
	if errors.Is(err, unix.ENOTDIR) && path.Dir(name) != "." && errors.Is(specialFile(root, path.Dir(name)), errWhiteout) {
		return nil, errWhiteout
	}
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		return nil, fmt.Errorf("%w: %w", err, ErrUnusable)
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, specialFile(root, name)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("larger than %d bytes: %w", maxFile, ErrUnusable)
	}
	return data, err
}

// specialFile tells an overlay's whiteout, a character device 0/0, from other
// files that are not regular.
func specialFile(root *os.File, name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(int(root.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "stat", Path: name, Err: err}
	}
	if st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 {
		return errWhiteout
	}
	return errNotRegular
}

var errNotRegular = fmt.Errorf("not a regular file: %w", ErrUnusable)

// layers returns the directories that mounts are made of, the topmost first,
// or nil if they are not one bind or overlay mount.
func layers(mounts []mount.Mount) []string {
	if len(mounts) != 1 {
		return nil
	}
	switch m := mounts[0]; m.Type {
	case "bind", "rbind":
		return []string{m.Source}
	case "overlay":
		var upper, lower []string
		for _, opt := range m.Options {
			if dir, ok := strings.CutPrefix(opt, "upperdir="); ok {
				upper = []string{dir}
			}
			if dirs, ok := strings.CutPrefix(opt, "lowerdir="); ok {
				lower = strings.Split(dirs, ":")
			}
		}
		return append(upper, lower...)
	}
	return nil
}
