// Package rootfs reads small files of a container's root file system without
// running anything in it and without trusting anything in it.
package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
)

// maxFile is the largest file that is read.
const maxFile = 10 << 20

// ErrUnusable is wrapped by the error for a file that no program would read with
// profit: a directory, device, FIFO or socket, links in a circle, or more than
// 10 MiB. It is a failed precondition.
var ErrUnusable = fmt.Errorf("unusable file: %w", errdefs.ErrFailedPrecondition)

// ReadFiles returns the contents of the named files, which are relative to the
// root of mounts; a file that does not exist is nil. Links are followed within
// the root file system. It never blocks on what is inside.
//
// A single bind mount is read where it is. Everything else is mounted
// read-only for the time of the call; where the process may not mount, the
// layers of an overlay are read one by one instead.
func ReadFiles(ctx context.Context, mounts []mount.Mount, names ...string) (files [][]byte, err error) {
	if dirs := layers(mounts); len(dirs) == 1 || len(dirs) > 1 && os.Geteuid() != 0 {
		return readLayers(dirs, names)
	}
	err = mount.WithReadonlyTempMount(ctx, mounts, func(root string) error {
		files, err = readLayers([]string{root}, names)
		return err
	})
	return files, err
}

// readLayers takes each file from the first of dirs that has it.
func readLayers(dirs, names []string) ([][]byte, error) {
	files := make([][]byte, len(names))
	for i, name := range names {
		for _, dir := range dirs {
			data, err := readFile(dir, name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if errors.Is(err, errWhiteout) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			files[i] = data
			break
		}
	}
	return files, nil
}
