package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

const (
	// maxState leaves 42 bytes, containerd's limit, for the shims' socket
	// directory, which is State/s.
	maxState = 40
	// stateFile remembers in Root a State that Start chose.
	stateFile = "state"
	lockFile  = "lock"
)

// layout is the validated form of Options' paths, with Root and State made and
// locked. The locks belong to the open files, and so also to the child that
// inherits them.
type layout struct {
	daemonConfig
	locks []*os.File
	// newState says that State was made by this Start.
	newState bool
}

func newLayout(o Options) (_ *layout, err error) {
	l := &layout{}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.discard())
		}
	}()
	if l.Runtime, err = findRuntime(o.Runtime); err != nil {
		return nil, err
	}
	switch o.Snapshotter {
	case "", snapshotterOverlay, snapshotterNative:
		l.Snapshotter = o.Snapshotter
	default:
		return nil, fmt.Errorf("snapshotter %q is neither %q nor %q: %w",
			o.Snapshotter, snapshotterOverlay, snapshotterNative, errdefs.ErrInvalidArgument)
	}
	if err := l.makeRoot(o.Root); err != nil {
		return nil, err
	}
	if err := l.makeState(o.State); err != nil {
		return nil, err
	}
	if l.Root == l.State {
		return nil, fmt.Errorf("root and state are both %q: %w", l.Root, errdefs.ErrInvalidArgument)
	}
	return l, nil
}

// findRuntime returns the absolute path of the OCI runtime binary.
func findRuntime(name string) (string, error) {
	if name == "" {
		name = "runc"
	}
	path, err := exec.LookPath(name)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("runtime %q: no such executable: %w", name, errdefs.ErrNotFound)
	case err != nil:
		return "", fmt.Errorf("runtime %q is not executable: %w: %w", name, err, errdefs.ErrInvalidArgument)
	}
	return filepath.Abs(path)
}

func (l *layout) makeRoot(root string) (err error) {
	if root == "" {
		l.TempRoot = true
		if l.Root, err = os.MkdirTemp("", "containerd-root-"); err != nil {
			return err
		}
	} else if l.Root, err = makeDir("root", root, 0o700); err != nil {
		return err
	}
	return l.lock("root", l.Root)
}

// makeState uses the given directory, or the one that Root remembers, or a new
// one.
func (l *layout) makeState(state string) (err error) {
	if state != "" {
		if abs, err := filepath.Abs(state); err != nil || len(abs) > maxState {
			return fmt.Errorf("state %q has %d bytes, and a socket's path leaves room for %d: %w",
				abs, len(abs), maxState, errors.Join(err, errdefs.ErrInvalidArgument))
		}
		if l.State, err = makeDir("state", state, 0o711); err != nil {
			return err
		}
		return l.lock("state", l.State)
	}
	l.TempState = true
	if l.State = rememberedState(l.Root); l.State == "" {
		if l.State, err = shortTempDir(); err != nil {
			return err
		}
		l.newState = true
		// Containers with a user namespace of their own traverse it.
		if err := os.Chmod(l.State, 0o711); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(l.Root, stateFile), []byte(l.State), 0o600); err != nil {
			return err
		}
	}
	return l.lock("state", l.State)
}

// rememberedState returns the State that an earlier Start on root chose, if it
// is still there and nobody else's.
func rememberedState(root string) string {
	data, err := os.ReadFile(filepath.Join(root, stateFile))
	if err != nil {
		return ""
	}
	info, err := os.Lstat(string(data))
	if err != nil || !info.IsDir() || len(data) > maxState {
		return ""
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != os.Geteuid() {
		return ""
	}
	return string(data)
}

// shortTempDir makes a directory short enough for State, in the first place
// that allows it.
func shortTempDir() (string, error) {
	candidates := []string{os.Getenv("XDG_RUNTIME_DIR"), os.TempDir(), "/tmp"}
	if os.Geteuid() == 0 {
		candidates[0] = "/run"
	}
	var errs []error
	for _, parent := range candidates {
		const pattern = "ctrd-" // and at most ten digits
		if !filepath.IsAbs(parent) || len(parent)+1+len(pattern)+10 > maxState {
			continue
		}
		dir, err := os.MkdirTemp(parent, pattern)
		if err == nil {
			return dir, nil
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("no place for state among %q: %w: %w", candidates, errors.Join(errs...), errdefs.ErrFailedPrecondition)
}

func makeDir(field, path string, perm os.FileMode) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("%s %q: %w", field, path, err)
	}
	if err := os.MkdirAll(abs, perm); err != nil {
		return "", fmt.Errorf("%s %q: %w: %w", field, path, err, errdefs.ErrInvalidArgument)
	}
	// Containerd compares paths with those of the mount table.
	return filepath.EvalSymlinks(abs)
}

func (l *layout) lock(field, dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("%s %q: %w: %w", field, dir, err, errdefs.ErrInvalidArgument)
	}
	l.locks = append(l.locks, f)
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		l.TempRoot, l.TempState = false, false // they are the other daemon's
		return fmt.Errorf("%s %q is in use by another daemon: %w", field, dir, errdefs.ErrFailedPrecondition)
	}
	return err
}

// unlock closes this process's copies of the locks.
func (l *layout) unlock() error {
	var errs []error
	for _, f := range l.locks {
		errs = append(errs, f.Close())
	}
	l.locks = nil
	return errors.Join(errs...)
}

// discard removes what newLayout made, for a daemon that did not come up.
func (l *layout) discard() error {
	var errs []error
	if l.newState {
		errs = append(errs, removeTree(l.State))
		if !l.TempRoot {
			errs = append(errs, os.Remove(filepath.Join(l.Root, stateFile)))
		}
	}
	if l.TempRoot && l.Root != "" {
		errs = append(errs, removeTree(l.Root))
	}
	return errors.Join(append(errs, l.unlock())...)
}
