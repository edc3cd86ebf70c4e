package containerd

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// fifoPrefix begins the name of every directory of FIFOs that is ours. The
// owner and a random part follow.
const fifoPrefix = "ctrdkit-stdio-"

// fifoNames are the files in such a directory.
var fifoNames = []string{"stdin", "stdout", "stderr"}

// rootLink is the name of a link to the root directory in such a directory,
// through which the paths of a task's files lead.
const rootLink = "root"

// runtimeDir makes the directory where this user's short-lived files go, and
// returns its sub-directory name.
func runtimeDir(name string) (string, error) {
	var errs []error
	for _, base := range runtimeBases() {
		dir := filepath.Join(base, name)
		err := os.MkdirAll(dir, 0o700)
		if err == nil {
			err = checkPrivate(base)
		}
		if err == nil {
			return dir, nil
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("no directory for FIFOs: %w", errors.Join(errs...))
}

func runtimeBases() []string {
	var bases []string
	if os.Geteuid() == 0 {
		bases = append(bases, "/run/ctrdkit")
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		bases = append(bases, filepath.Join(dir, "ctrdkit"))
	}
	return append(bases, filepath.Join(os.TempDir(), fmt.Sprintf("ctrdkit-%d", os.Geteuid())))
}

// checkPrivate makes sure that nobody else can put files into dir, which may
// lie where everybody can make directories.
func checkPrivate(dir string) error {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return &fs.PathError{Op: "lstat", Path: dir, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return fmt.Errorf("%s is not a directory that only this user can write to: %w", dir, errdefs.ErrPermissionDenied)
	}
	return nil
}

// makeFIFODir makes a directory for the FIFOs of one process below base, or
// below a directory of our own.
func (s *DefaultService) makeFIFODir(base string) (string, error) {
	if base = cmp.Or(base, s.stdioDir); base == "" {
		var err error
		if base, err = runtimeDir("stdio"); err != nil {
			return "", err
		}
	} else if err := os.MkdirAll(base, 0o700); errors.Is(err, unix.ENOTDIR) {
		return "", invalid("FIFODir %s: %v", quoted(base), err)
	} else if err != nil {
		return "", err
	}
	s.fifoSweep.once(base)
	dir := filepath.Join(base, s.fifoDirPrefix()+rand.Text()[:8])
	return dir, os.Mkdir(dir, 0o700)
}

// fifoDirPrefix begins the names of this service's directories of FIFOs.
func (s *DefaultService) fifoDirPrefix() string {
	return fifoPrefix + strings.ReplaceAll(s.owner.String(), "/", "_") + "-"
}

// fifoDirs returns the service's directories of FIFOs that are left.
func (s *DefaultService) fifoDirs() (left []string) {
	for _, base := range s.fifoSweep.bases() {
		entries, err := os.ReadDir(base)
		if err != nil {
			continue // removed, with all in it
		}
		for _, entry := range entries {
			if strings.HasPrefix(entry.Name(), s.fifoDirPrefix()) {
				left = append(left, filepath.Join(base, entry.Name()))
			}
		}
	}
	return left
}

// fifoDirOwner returns who made the directory of FIFOs, if it is one of ours.
func fifoDirOwner(dir string) (owner, bool) {
	rest, ok := strings.CutPrefix(filepath.Base(dir), fifoPrefix)
	if !ok {
		return owner{}, false
	}
	end := strings.LastIndexByte(rest, '-')
	if end < 0 {
		return owner{}, false
	}
	o, err := parseOwner(strings.ReplaceAll(rest[:end], "_", "/"))
	return o, err == nil
}

func isFIFODir(dir string) bool {
	_, ours := fifoDirOwner(dir)
	return ours
}

// removeFIFODir removes a directory of FIFOs. One that is gone is fine.
func removeFIFODir(dir string) error {
	for _, name := range append(slices.Clone(fifoNames), rootLink) {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// fifoSweeper removes the directories of FIFOs that dead processes left.
type fifoSweeper struct {
	mu    sync.Mutex
	swept map[string]bool // by base directory
}

// once sweeps base at its first use. What can't be removed now is left to the
// next service.
func (f *fifoSweeper) once(base string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.swept[base] {
		return
	}
	if f.swept == nil {
		f.swept = make(map[string]bool)
	}
	f.swept[base] = true
	entries, err := os.ReadDir(base)
	if err != nil {
		return
	}
	for _, entry := range entries {
		dir := filepath.Join(base, entry.Name())
		if o, ok := fifoDirOwner(dir); !ok || !o.dead() || fifosInUse(dir) {
			continue
		}
		if err := removeFIFODir(dir); err != nil {
			return
		}
	}
}

// bases returns the base directories that were used.
func (f *fifoSweeper) bases() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.swept))
}

// fifosInUse reports whether any process, such as the shim of a task that
// still runs, has one of the FIFOs open for reading: a shim has all of them.
func fifosInUse(dir string) bool {
	for _, name := range fifoNames {
		fd, err := unix.Open(filepath.Join(dir, name), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		switch {
		case err == nil:
			return unix.Close(fd) == nil
		case !errors.Is(err, unix.ENXIO) && !errors.Is(err, unix.ENOENT):
			return true
		}
	}
	return false
}
