//go:build !linux

package rootfs

import (
	"errors"
	"io"
	"os"

	"github.com/containerd/containerd/v2/core/mount"
)

var errWhiteout = errors.New("whiteout")

// readFile reads a regular file within dir.
func readFile(dir, name string) (_ []byte, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	if info, err := root.Stat(name); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, ErrUnusable
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, maxFile))
}

func layers(mounts []mount.Mount) []string { return nil }
