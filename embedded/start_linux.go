package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/errdefs"
)

// stopTimeout is how long a child may take to end in order. Its own bounds are
// shorter.
const stopTimeout = time.Minute

func start(ctx context.Context, o Options) (*Daemon, error) {
	l, err := newLayout(o)
	if err != nil {
		return nil, err
	}
	l.Verbose = o.Log != nil
	l.Rootless = os.Geteuid() != 0
	c, err := launch(ctx, l, o.Log)
	if err != nil {
		// A killed child may have been trying out a mount.
		return nil, errors.Join(err, unmountUnder(l.Root), l.discard())
	}
	if err := l.unlock(); err != nil {
		return nil, errors.Join(err, c.kill(), l.discard())
	}
	return &Daemon{
		address:   socketPath(l.State),
		pid:       c.proc.Pid,
		temporary: l.TempRoot,
		done:      c.done,
		stop:      func(detach bool) error { return stop(c, l.daemonConfig, detach, o.Log) },
	}, nil
}

func socketPath(state string) string { return filepath.Join(state, "containerd.sock") }

// launch starts the child and waits until it reports that it serves or, when it
// is to clean up, that it is done.
func launch(ctx context.Context, l *layout, log io.Writer) (*child, error) {
	c, err := startChild(l, log)
	if err != nil {
		return nil, err
	}
	if err := c.awaitReport(ctx); err != nil {
		return nil, errors.Join(err, c.kill())
	}
	return c, nil
}

// stop ends a daemon, its containers too unless detach is set.
func stop(c *child, cfg daemonConfig, detach bool, log io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	err := c.Encode(command{Detach: detach})
	if err == nil {
		err = c.awaitReport(ctx)
	}
	if ctx.Err() != nil {
		err = errors.Join(errEnded, c.kill()) // it hangs
	} else {
		err = errors.Join(err, c.Close())
		<-c.done
	}
	switch {
	case isDisconnect(err), errors.Is(err, errEnded):
		// It ended without being asked, and left everything.
		if detach {
			return nil
		}
		return cleanUp(cfg, log)
	case detach:
		return err
	}
	// The child cannot remove the locks that it holds without a trace.
	return errors.Join(err, removeTemporary(cfg))
}

// cleanUp does what a daemon that was killed could not do. A daemon that took
// over Root meanwhile owns what is in it.
func cleanUp(cfg daemonConfig, log io.Writer) error {
	if _, err := os.Lstat(cfg.Root); errors.Is(err, os.ErrNotExist) {
		return removeTemporary(cfg)
	}
	l := &layout{daemonConfig: cfg}
	l.CleanUp = true
	err := errors.Join(l.lock("root", cfg.Root), os.MkdirAll(cfg.State, 0o711))
	if err == nil {
		err = l.lock("state", cfg.State)
	}
	if errdefs.IsFailedPrecondition(err) {
		return l.unlock()
	}
	if err != nil {
		return errors.Join(err, l.unlock())
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	c, err := launch(ctx, l, log)
	if err != nil {
		return errors.Join(fmt.Errorf("cleaning up after a killed daemon: %w", err), l.unlock())
	}
	err = c.Close()
	<-c.done
	return errors.Join(err, l.unlock(), removeTemporary(cfg))
}

func removeTemporary(cfg daemonConfig) error {
	var errs []error
	if cfg.TempState {
		errs = append(errs, removeTree(cfg.State))
	}
	if cfg.TempRoot {
		errs = append(errs, removeTree(cfg.Root))
	}
	return errors.Join(errs...)
}
