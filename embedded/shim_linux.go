package embedded

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// installShim puts this binary under the shim's name into a directory of root,
// and returns the directory. Shims outlive the daemon, so a binary that is
// going to be deleted is linked or copied, and any other gets a symbolic link.
func installShim(root string) (string, error) {
	dir := filepath.Join(root, "bin")
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return "", err
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	next := filepath.Join(dir, ".next")
	if err := os.RemoveAll(next); err != nil {
		return "", err
	}
	if isEphemeral(self) {
		err = linkOrCopy(next)
	} else {
		err = os.Symlink(self, next)
	}
	if err != nil {
		return "", fmt.Errorf("installing the shim in %s: %w", dir, err)
	}
	return dir, os.Rename(next, filepath.Join(dir, shimName))
}

// isEphemeral recognises the binaries of go test and go run.
func isEphemeral(path string) bool {
	return strings.HasSuffix(path, ".test") || strings.HasSuffix(path, " (deleted)") ||
		strings.Contains(path, "/go-build")
}

// linkOrCopy links, or else copies, this process's binary, even a deleted one.
func linkOrCopy(dst string) (err error) {
	const self = "/proc/self/exe"
	if unix.Linkat(unix.AT_FDCWD, self, unix.AT_FDCWD, dst, unix.AT_SYMLINK_FOLLOW) == nil {
		return nil
	}
	src, err := os.Open(self)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o711)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, src)
	return errors.Join(err, out.Close())
}
