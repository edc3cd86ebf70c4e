package containerd

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

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
// KiB wait, for ever. When everything has been written is said at [StreamIO].
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

// StreamIO binds the task to streams of the caller's, until it ends or the
// service is closed. The container blocks when a writer does, or is slower than
// the container, and when this process has ended and 64 KiB wait.
//
// The writers have got everything when [Service.DeleteTask] of the ended task has
// returned nil, not yet when [TaskWaiter.WaitTask] or [Service.StopTask] has.
// Whatever deletes the task waits for a writer that is slow until its context
// ends, and then leaves the task stopped; closing the service cuts the output off.
type StreamIO struct {
	// Stdin is the task's input; nil means none. A Read that blocks can't be
	// ended: its goroutine ends with it.
	Stdin io.Reader
	// Stdout and Stderr get the output; nil discards that stream. A writer that
	// fails is not written to any more, and the output is discarded from then on.
	// They may be the same, which then is not written to by both at once. A
	// terminal has no Stderr.
	Stdout, Stderr io.Writer
	// FIFODir is that of [StdIO].
	FIFODir string
}

func (s StreamIO) check(terminal bool) error {
	if terminal && s.Stderr != nil {
		return invalid("Stderr is not for a terminal, all of whose output is on Stdout")
	}
	return checkPath("FIFODir", s.FIFODir)
}

func (s StreamIO) open(ctx context.Context, st *starting) (cio.IO, error) {
	if s.Stdin == nil && s.Stdout == nil && s.Stderr == nil {
		return DiscardIO{}.open(ctx, st)
	}
	want := stdio{attached: true, terminal: st.terminal, dir: s.FIFODir, stdin: s.Stdin, stdout: s.Stdout, stderr: s.Stderr}
	opened, err := st.service.openStreams(ctx, want, st.id, "")
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
	// directories have to exist. "" discards that stream. They may be the same: the
	// streams then mix, in no certain order, also within a line that the process
	// writes in pieces.
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

// open gives the shim paths that lead through a directory that says whose the
// task is, and that is needed until the task was started.
func (f FileIO) open(_ context.Context, st *starting) (_ cio.IO, err error) {
	for _, target := range []string{f.Stdout, f.Stderr} {
		if err := touch(target); err != nil {
			return nil, err
		}
	}
	dir, err := st.service.makeFIFODir("")
	if err != nil {
		return nil, err
	}
	st.marked = dir
	if err := os.Symlink("/", filepath.Join(dir, rootLink)); err != nil {
		return nil, errors.Join(err, removeFIFODir(dir))
	}
	return unattached{Stdout: markedPath(dir, f.Stdout), Stderr: markedPath(dir, f.Stderr)}, nil
}

// markedPath returns a path of the file target, "" meaning /dev/null, that leads
// through the directory dir.
func markedPath(dir, target string) string {
	if target == "" {
		target = devNull
	}
	return filepath.Join(dir, rootLink) + filepath.Clean(target)
}

// parseMarkedPath returns what [markedPath] was made of.
func parseMarkedPath(path string) (dir, target string, ok bool) {
	const link = "/" + rootLink + "/"
	// Both parts can have such an element, too: /root is a usual directory.
	for at := 0; ; at += len(link) - 1 {
		next := strings.Index(path[at:], link)
		if next < 0 {
			return "", "", false
		}
		at += next
		if dir = path[:at]; isFIFODir(dir) {
			target = path[at+len(link)-1:]
			break
		}
	}
	if target == devNull {
		target = ""
	}
	return dir, target, true
}

// touch makes a file that is absent.
func touch(name string) error {
	if name == "" {
		return nil
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return invalid("file %s: %v", quoted(name), err)
	}
	return f.Close()
}
