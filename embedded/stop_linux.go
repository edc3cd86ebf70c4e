package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

const (
	// taskStopTimeout bounds the orderly end of one task. A task that takes
	// longer ends with its shim.
	taskStopTimeout = 10 * time.Second
	parallelStops   = 16
	// callsTimeout bounds the wait for API calls, which have all been canceled.
	callsTimeout = 10 * time.Second
)

func (d *daemon) runtime() (runtime.PlatformRuntime, error) {
	instance, err := d.graph.Instance(taskPlugin)
	if err != nil {
		return nil, err
	}
	r, ok := instance.(runtime.PlatformRuntime)
	if !ok {
		return nil, fmt.Errorf("unexpected type %T of plugin %s: %w", instance, taskPlugin, errdefs.ErrInternal)
	}
	return r, nil
}

// tasks returns the tasks of all namespaces.
func (d *daemon) tasks(ctx context.Context) ([]runtime.Task, error) {
	r, err := d.runtime()
	if err != nil {
		return nil, err
	}
	return r.Tasks(ctx, true)
}

// detach ends the daemon and leaves the shims and what they run.
func (d *daemon) detach(ctx context.Context) error {
	if !d.stopServing(ctx) {
		return nil
	}
	return d.graph.Close()
}

// stopServing waits for the calls in progress, but not for ever. It returns
// false if a call hangs; then the end of the process has to do for closing.
func (d *daemon) stopServing(ctx context.Context) bool {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		d.graph.StopServing()
	}()
	select {
	case <-stopped:
		return true
	case <-time.After(callsTimeout):
		log.G(ctx).Warn("ending with API calls in progress")
		return false
	}
}

// close ends the tasks and the daemon, and removes what they leave.
func (d *daemon) close(ctx context.Context) error {
	stopped := d.stopServing(ctx)
	errs := []error{d.stopTasks(ctx)}
	if stopped {
		errs = append(errs, d.graph.Close())
	}
	errs = append(errs, removeCgroups(cgroupParent(d.Root)), unmountUnder(d.State), d.unmountRoot())
	if d.TempState {
		errs = append(errs, removeTree(d.State))
		if !d.TempRoot {
			errs = append(errs, removeIfPresent(filepath.Join(d.Root, stateFile)))
		}
	} else {
		errs = append(errs, clearState(d.State))
	}
	if d.TempRoot {
		errs = append(errs, removeTree(d.Root))
	}
	return errors.Join(errs...)
}

// stopTasks kills and deletes every task, and then every shim that is left.
func (d *daemon) stopTasks(ctx context.Context) error {
	r, err := d.runtime()
	if err != nil {
		return err
	}
	tasks, err := r.Tasks(ctx, true)
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(parallelStops)
	for _, t := range tasks {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(namespaces.WithNamespace(ctx, t.Namespace()), taskStopTimeout)
			defer cancel()
			if err := stopTask(ctx, r, t); err != nil {
				log.G(ctx).WithError(err).WithField("id", t.ID()).Warn("task does not end in order, killing its shim")
			}
			return nil
		})
	}
	return errors.Join(group.Wait(), d.killShims())
}

// stopTask resumes a paused task first, because signals do not reach it.
func stopTask(ctx context.Context, r runtime.PlatformRuntime, t runtime.Task) error {
	if state, err := t.State(ctx); err == nil && state.Status == runtime.PausedStatus {
		if err := t.Resume(ctx); err != nil {
			return err
		}
	}
	if err := t.Kill(ctx, uint32(unix.SIGKILL), false); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	if _, err := t.Wait(ctx); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	_, err := r.Delete(ctx, t.ID())
	return err
}

// killShims kills what the orderly way left, and waits until containerd, which
// notices the lost connections, has cleaned up after them.
func (d *daemon) killShims() error {
	bundles := filepath.Join(d.State, taskPlugin)
	pids, err := shimsIn(bundles)
	if err != nil || len(pids) == 0 {
		return err
	}
	for _, pid := range pids {
		if err := kill(pid); err != nil {
			return err
		}
	}
	err = poll(func() (bool, error) {
		left, err := filepath.Glob(filepath.Join(bundles, "*", "[^.]*"))
		return len(left) == 0, err
	})
	if err != nil {
		return fmt.Errorf("waiting for killed shims: %w", err)
	}
	return nil
}

func (d *daemon) unmountRoot() error {
	if d.TempRoot {
		return nil // with the removal
	}
	return unmountUnder(d.Root)
}

// clearState removes what the daemon put into a State that the caller chose.
func clearState(state string) error {
	entries, err := filepath.Glob(filepath.Join(state, "io.containerd.*"))
	if err != nil {
		return err
	}
	for _, name := range []string{"s", "runc", "containerd.sock", "containerd.sock.ttrpc", lockFile} {
		entries = append(entries, filepath.Join(state, name))
	}
	var errs []error
	for _, path := range entries {
		errs = append(errs, os.RemoveAll(path))
	}
	return errors.Join(errs...)
}

func removeIfPresent(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
