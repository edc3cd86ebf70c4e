package containerd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd/internal/logfile"
)

// labelLogDir is where a container's log is, in its labels.
const labelLogDir = "ctrdkit.io/log-dir"

// LogIO has a logger of the task's own write its output to files, with times
// and with stdout and stderr apart. The logger is a process that the daemon's
// shim starts: it goes on when this process or the daemon ends. It is this very
// program's executable, which has to import package
// github.com/ctrdkit/containerd/logger for that. The container blocks only as
// long as writing to the files does; what does not fit on a full disk is lost,
// and the log says so.
//
// The files are in the format of Kubernetes' CRI. [LogReader] reads them, in any
// process, while the task runs and after. They are removed with the container.
type LogIO struct {
	// Dir is the absolute path of the log's directory on the daemon's machine,
	// which has to be this one. It is made if it is absent, with mode 0700. ""
	// means one for the container below /var/lib/ctrdkit/logs, or for users other
	// than root below ctrdkit/logs in XDG_STATE_HOME (~/.local/state).
	Dir string
	// MaxSize is the size in bytes at which the log goes on in the next file; 0
	// means 16 MiB.
	MaxSize int64
	// MaxFiles is how many files are kept; 0 means 4.
	MaxFiles int
	// Stdin gives the task an input that [Attacher] can write to. containerd has
	// none for a logged task without a terminal.
	Stdin bool
}

func (l LogIO) check(terminal bool) error {
	switch {
	case l.MaxSize < 0:
		return invalid("MaxSize %d is negative", l.MaxSize)
	case l.MaxFiles < 0:
		return invalid("MaxFiles %d is negative", l.MaxFiles)
	case l.Stdin && !terminal:
		return invalid("Stdin of LogIO needs a terminal: containerd has no input for a logged task without one")
	}
	if err := checkPath("Dir", l.Dir); err != nil {
		return err
	}
	if logfile.Program == nil {
		return fmt.Errorf("LogIO needs a program that can log: import github.com/ctrdkit/containerd/logger in it, or use FileIO: %w",
			errdefs.ErrFailedPrecondition)
	}
	return nil
}

// logDirOf returns the directory of a container's log.
func (s *DefaultService) logDirOf(l LogIO, containerID string) (_ string, err error) {
	if l.Dir != "" {
		return filepath.Clean(l.Dir), nil
	}
	base := s.logDir
	if base == "" {
		if base, err = logBase(); err != nil {
			return "", err
		}
	}
	return filepath.Join(base, s.namespace, containerID), nil
}

func logBase() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/ctrdkit/logs", nil
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "ctrdkit", "logs"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no directory for logs: %w: %w", err, errdefs.ErrFailedPrecondition)
	}
	return filepath.Join(home, ".local", "state", "ctrdkit", "logs"), nil
}

// open makes the address that has the shim start the logger.
func (l LogIO) open(_ context.Context, st *starting) (cio.IO, error) {
	program, err := logfile.Program()
	if err == nil {
		_, err = os.Stat(program)
	}
	if err != nil {
		return nil, fmt.Errorf("this program's executable can't be started as a logger: %w: %w", err, errdefs.ErrFailedPrecondition)
	}
	if err := os.MkdirAll(st.logDir, 0o700); err != nil {
		return nil, invalid("log directory %s: %v", quoted(st.logDir), err)
	}
	logged := logfile.Config{
		Dir: st.logDir, MaxSize: l.MaxSize, MaxFiles: l.MaxFiles, Terminal: st.terminal, Origin: st.service.newOrigin(),
	}
	address, err := logfile.Address(program, logged)
	if err != nil {
		return nil, err
	}
	config := unattached{Terminal: st.terminal, Stdout: address, Stderr: address}
	if l.Stdin {
		if config.Stdin, err = logfile.MakeInput(st.logDir); err != nil {
			return nil, err
		}
	}
	return config, nil
}

// setLogDir decides where the log of a LogIO goes.
func (st *starting) setLogDir(ctx context.Context, record containers.Container) (_ containers.Container, err error) {
	l, ok := st.req.IO.(LogIO)
	if !ok {
		return record, nil
	}
	if st.logDir, err = st.service.logDirOf(l, st.id); err != nil {
		return record, err
	}
	return st.storeLogDir(ctx, record)
}

// storeLogDir notes in the container's labels where its log is.
func (st *starting) storeLogDir(ctx context.Context, record containers.Container) (containers.Container, error) {
	before, known := record.Labels[labelLogDir]
	if before == st.logDir {
		return record, nil
	}
	store := st.service.client.ContainerService()
	set := func(ctx context.Context, dir string) (containers.Container, error) {
		return store.Update(ctx, containers.Container{ID: st.id, Labels: map[string]string{labelLogDir: dir}}, "labels."+labelLogDir)
	}
	st.undo.push("container's label "+labelLogDir, func(ctx context.Context) error {
		now, err := store.Get(ctx, st.id)
		if err != nil || now.Labels[labelLogDir] != st.logDir {
			return err
		}
		if !known {
			before = "" // the daemon drops a label without a value
		}
		_, err = set(ctx, before)
		return err
	})
	return set(ctx, st.logDir)
}

// checkLogger makes sure that the logger of a created task runs.
func (st *starting) checkLogger() error {
	if st.logDir == "" || logfile.Running(st.logDir) {
		return nil
	}
	return fmt.Errorf("the logger of %s did not start: %w", quoted(st.logDir), errdefs.ErrUnavailable)
}

// removeLog removes the log of a container whose record is deleted.
func removeLog(record containers.Container) error {
	dir := record.Labels[labelLogDir]
	if dir == "" {
		return nil
	}
	if err := logfile.Remove(dir); err != nil {
		return fmt.Errorf("removing the log in %s: %w", quoted(dir), err)
	}
	return nil
}
