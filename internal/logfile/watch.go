package logfile

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// watchTick is how often a log is looked at where the kernel has no more
// watches to give.
const watchTick = 100 * time.Millisecond

// watcher tells when a log changes, and when its logger has ended.
type watcher struct {
	alive   *os.File
	events  io.ReadCloser // nil where the kernel gives none
	changed chan struct{} // has an element after a change
	gone    chan struct{} // closed when the logger has ended
	group   sync.WaitGroup
}

// newWatcher watches a directory. It returns an error that wraps
// fs.ErrNotExist if no logger has ever been there.
func newWatcher(dir string) (*watcher, error) {
	alive, err := os.OpenFile(filepath.Join(dir, aliveName), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	w := &watcher{alive: alive, changed: make(chan struct{}, 1), gone: make(chan struct{})}
	w.group.Go(func() {
		defer close(w.gone)
		io.Copy(io.Discard, alive) //nolint:errcheck // any end is the end
	})
	if w.events, err = watchDir(dir); err != nil {
		return nil, errors.Join(err, w.close())
	}
	if w.events != nil {
		w.group.Go(w.notify)
	}
	return w, nil
}

// notify passes changes on until the watch is closed.
func (w *watcher) notify() {
	buffer := make([]byte, 64<<10)
	for {
		if _, err := w.events.Read(buffer); err != nil {
			return
		}
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
}

// ended says whether the logger has ended. A nil watcher has none.
func (w *watcher) ended() bool {
	if w == nil {
		return true
	}
	select {
	case <-w.gone:
		return true
	default:
		return false
	}
}

// wait returns after a change, at the end of the log or the logger, or with
// ctx's error. late says that passed has delivered.
func (w *watcher) wait(ctx context.Context, ended <-chan struct{}, passed <-chan time.Time) (late bool, err error) {
	var tick <-chan time.Time
	if w.events == nil {
		timer := time.NewTimer(watchTick)
		defer timer.Stop()
		tick = timer.C
	}
	select {
	case <-w.changed:
	case <-w.gone:
	case <-ended:
	case <-passed:
		return true, nil
	case <-tick:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	return false, nil
}

// close ends the watch. A nil watcher has none.
func (w *watcher) close() error {
	if w == nil {
		return nil
	}
	err := w.alive.Close() // ends the goroutines
	if w.events != nil {
		err = errors.Join(err, w.events.Close())
	}
	w.group.Wait()
	return err
}
