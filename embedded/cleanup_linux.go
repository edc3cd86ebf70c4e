package embedded

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// removeTree unmounts everything under dir and removes it.
func removeTree(dir string) error {
	return errors.Join(unmountUnder(dir), os.RemoveAll(dir))
}

// unmountUnder detaches all mounts in dir and below, the innermost first.
func unmountUnder(dir string) error {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range slices.Backward(mounts) {
		err := unix.Unmount(m.Mountpoint, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: gone meanwhile
			errs = append(errs, fmt.Errorf("unmounting %s: %w", m.Mountpoint, err))
		}
	}
	return errors.Join(errs...)
}

// shimsIn returns the processes whose working directory is a bundle under dir:
// shims run there for all their life.
func shimsIn(dir string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		cwd, err := os.Readlink(filepath.Join("/proc", e.Name(), "cwd"))
		if err == nil && strings.HasPrefix(cwd, dir+"/") {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// cgroupParent is the cgroup above those of all containers of the daemon on
// root. Container cgroups are named by namespace and ID, which may be the same
// in several daemons of one host.
func cgroupParent(root string) string {
	sum := sha256.Sum256([]byte(root))
	return "ctrd-" + hex.EncodeToString(sum[:6])
}

// removeCgroups kills what still runs in the cgroup called name, and removes it
// from all hierarchies.
func removeCgroups(name string) error {
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range mounts {
		errs = append(errs, removeCgroup(filepath.Join(m.Mountpoint, name)))
	}
	return errors.Join(errs...)
}

func removeCgroup(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case d.IsDir():
			dirs = append(dirs, path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, path := range slices.Backward(dirs) {
		if err := emptyCgroup(path); err != nil {
			return err
		}
	}
	return nil
}

// emptyCgroup removes one cgroup. A killed process counts until it is gone, for
// which cgroups of version 1 have no event.
func emptyCgroup(path string) error {
	return poll(func() (bool, error) {
		err := os.Remove(path)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return true, nil
		}
		if !errors.Is(err, unix.EBUSY) {
			return false, err
		}
		procs, rerr := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			return false, rerr
		}
		for _, field := range bytes.Fields(procs) {
			pid, err := strconv.Atoi(string(field))
			if err != nil {
				return false, fmt.Errorf("%s: %w", path, err)
			}
			if err := kill(pid); err != nil {
				return false, err
			}
		}
		return false, nil
	})
}

func kill(pid int) error {
	if pid <= 0 { // of a process that this PID namespace does not show
		return fmt.Errorf("no process ID: %d", pid)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("killing process %d: %w", pid, err)
	}
	return nil
}
