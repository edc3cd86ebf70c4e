package containerd

import (
	"context"
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd/internal/logfile"
)

// LogIO has a logger of the task's own write its output to files, with times
// and with stdout and stderr apart. The logger is a process that the daemon's
// shim starts: it goes on when this process or the daemon ends. It is this very
// program's executable, which has to import package
// github.com/ctrdkit/containerd/logger for that. The container blocks only as
// long as writing to the files does; what does not fit on a full disk is lost,
// and the log says so.
//
// The files are in the format of Kubernetes' CRI. [LogReader] reads them, in any
// process, while the task runs and after. A container has one log: its later
// tasks go on with it. It is removed with the container.
type LogIO struct {
	// Dir is the absolute path of the log's directory on the daemon's machine,
	// which has to be this one. It is made if it is absent, with mode 0700; one
	// that is there has to be empty, or the container's own by the file "owner"
	// in it. "" means the log that the container has, or a new one below
	// /var/lib/ctrdkit/logs, or for users other than root below ctrdkit/logs in
	// XDG_STATE_HOME (~/.local/state). A directory with anything else in it, and
	// another one than that of the container's log, are failed-precondition errors.
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

// open makes the address that has the shim start the logger.
func (l LogIO) open(_ context.Context, st *starting) (cio.IO, error) {
	program, err := logfile.Program()
	if err == nil {
		_, err = os.Stat(program)
	}
	if err != nil {
		return nil, fmt.Errorf("this program's executable can't be started as a logger: %w: %w", err, errdefs.ErrFailedPrecondition)
	}
	logged := l.config(st)
	logged.Origin = st.service.newOrigin()
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

// config is what the logger is told.
func (l LogIO) config(st *starting) logfile.Config {
	return logfile.Config{
		Dir: st.logDir, MaxSize: l.MaxSize, MaxFiles: l.MaxFiles, Terminal: st.terminal, Stdin: l.Stdin, Owner: st.logOwner,
	}
}

// checkLogger makes sure that the logger of a created task runs.
func (st *starting) checkLogger() error {
	if st.logDir == "" || logfile.Running(st.logDir) {
		return nil
	}
	return fmt.Errorf("the logger of %s did not start: %w", quoted(st.logDir), errdefs.ErrUnavailable)
}
