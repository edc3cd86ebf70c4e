package containerd

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/pkg/cio"
)

// TaskIO says where the streams of a task go. Its kinds are [DiscardIO],
// [StdIO], [FileIO] and [LogIO].
type TaskIO interface {
	// check refuses what can't work, before anything is touched.
	check(terminal bool) error
	// open makes the streams of the task that st starts.
	open(ctx context.Context, st *starting) (cio.IO, error)
}

// DiscardIO gives the task no input, and discards its output. The task never
// blocks on it, and has no part in this process.
type DiscardIO struct{}

func (DiscardIO) check(bool) error { return nil }

func (DiscardIO) open(ctx context.Context, st *starting) (cio.IO, error) {
	return st.service.openStdio(ctx, stdio{terminal: st.terminal}, st.id, "")
}

// StdIO binds the task to this process's own stdin, stdout and stderr, until it
// ends or the service is closed. The container blocks when nobody takes its
// output: while this process's own stdout blocks, and, once it has ended and 64
// KiB wait, for ever.
type StdIO struct {
	// FIFODir is the absolute path of the directory in which the FIFOs get a
	// directory of their own. "" means one below this user's runtime directory.
	FIFODir string
}

func (s StdIO) check(bool) error { return checkPath("FIFODir", s.FIFODir) }

func (s StdIO) open(ctx context.Context, st *starting) (cio.IO, error) {
	opened, err := st.service.openStreams(ctx, ownStdio(st.terminal, s.FIFODir), st.id, "")
	if err != nil {
		return nil, err
	}
	opened.wanted = s
	return opened, nil
}

// FileIO has the daemon's shim append the task's output to two files, without
// this process: it goes on when this process or the daemon ends. There is no
// input. The container blocks only as long as writing to the files does. A file
// can be truncated while it is written to, not renamed.
type FileIO struct {
	// Stdout and Stderr are absolute paths on the daemon's machine, which has to
	// be this one. The files are made if they are absent, with mode 0600; their
	// directories have to exist. "" discards that stream. They may be the same.
	Stdout, Stderr string
}

func (f FileIO) check(terminal bool) error {
	if terminal {
		return invalid("FileIO is not for a terminal, whose output has no end of its own: use LogIO")
	}
	return firstError(checkPath("Stdout", f.Stdout), checkPath("Stderr", f.Stderr))
}

func checkPath(field, path string) error {
	if err := checkOptional(field, path); err != nil {
		return err
	}
	if path != "" && !filepath.IsAbs(path) {
		return invalid("%s %s is not absolute", field, quoted(path))
	}
	return nil
}

// open gives the shim links to the files, in a directory that says whose the
// task is.
func (f FileIO) open(_ context.Context, st *starting) (_ cio.IO, err error) {
	dir, err := st.service.makeFIFODir("")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeFIFODir(dir))
		}
	}()
	config := cio.Config{Stdout: filepath.Join(dir, fifoNames[1]), Stderr: filepath.Join(dir, fifoNames[2])}
	for link, target := range map[string]string{config.Stdout: f.Stdout, config.Stderr: f.Stderr} {
		if target == "" {
			target = devNull
		} else if err := touch(target); err != nil {
			return nil, err
		}
		if err := os.Symlink(target, link); err != nil {
			return nil, err
		}
	}
	return linked{config, dir}, nil
}

// touch makes a file that is absent.
func touch(name string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return invalid("file %s: %v", quoted(name), err)
	}
	return f.Close()
}

// linked is the IO of a task that writes to files without this process.
type linked struct {
	config cio.Config
	dir    string
}

// Config returns the addresses.
func (l linked) Config() cio.Config { return l.config }

// Cancel has nothing to cancel.
func (linked) Cancel() {}

// Wait returns at once: nothing is copied here.
func (linked) Wait() {}

// Close keeps the links: they say what the task is wired to, as long as it exists.
func (linked) Close() error { return nil }
