package logfile

import (
	"context"
	"errors"
	"iter"
	"time"
)

// ReadOptions choose entries. The zero value is all that there is.
type ReadOptions struct {
	// Follow goes on until the logger has ended and everything was delivered.
	Follow bool
	// Tail is the number of lines at the end to begin with; 0 means all. A
	// negative number means none: only what comes from now on.
	Tail int
	// Since and Until bound the time of entries, both inclusive; zero means no bound.
	Since, Until time.Time
	// Only is the one stream to read; "" means all.
	Only Stream
	// Ended ends a Follow when it is closed and what was written until then was
	// delivered. Without it the end of the logger does.
	Ended <-chan struct{}
	// Passed delivers when Until has passed, which ends a Follow too. Without it
	// a timer of package time does.
	Passed <-chan time.Time
}

// wanted says whether the options choose an entry.
func (o ReadOptions) wanted(e Entry) bool {
	return (o.Only == "" || e.Stream == o.Only || e.Stream == Lost) && o.within(e.Time)
}

// within says whether a time is within the bounds. Times need not be in order:
// somebody may set the clock.
func (o ReadOptions) within(t time.Time) bool {
	return (o.Since.IsZero() || !t.Before(o.Since)) && (o.Until.IsZero() || !t.After(o.Until))
}

// errStop ends a reading early.
var errStop = errors.New("stop")

// Log is a log opened for one reading.
type Log struct {
	reader reader
	watch  *watcher // nil where no logger ever was, and without Follow
}

// Open opens the log in dir. What was written before is in the log then, also
// if the logger was behind; with a negative Tail, everything that is written
// later is delivered, and nothing that was written before. Without Follow that
// is where the reading ends, whatever comes meanwhile. A log that does not exist
// has no entries. The caller iterates or closes it.
func Open(ctx context.Context, dir string, opts ReadOptions) (_ *Log, err error) {
	l := &Log{reader: reader{dir: dir, opts: opts}}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	if opts.Follow { // before the first look, so that nothing happens unseen
		if l.watch, err = newWatcher(dir); ignoreAbsent(err) != nil {
			return nil, err
		}
	}
	now, err := ask(ctx, dir)
	if err != nil {
		return nil, err
	}
	if !opts.Follow {
		l.reader.end = &now.end
	}
	return l, l.reader.seek(ctx, now.end)
}

// All returns the entries, in the order in which they were written, and closes
// the log. The sequence ends with ctx's error if ctx ends first. The entries
// are the caller's.
func (l *Log) All(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		l.reader.deliver = func(e Entry) error {
			if !yield(e, nil) {
				return errStop
			}
			return nil
		}
		err := l.read(ctx)
		stopped := errors.Is(err, errStop)
		if stopped {
			err = nil
		}
		if err = errors.Join(err, l.Close()); err != nil && !stopped {
			yield(Entry{}, err)
		}
	}
}

// read delivers what there is, and for a follower what comes, to the end.
func (l *Log) read(ctx context.Context) error {
	r, ended, passed, release := &l.reader, l.reader.opts.Ended, l.reader.opts.Passed, func() {}
	if r.opts.Follow && !r.opts.Until.IsZero() && passed == nil {
		passed, release = timer(time.Until(r.opts.Until))
	}
	defer release()
	for late := false; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.end == nil {
			// Also while there is much to read: a task may write faster.
			select {
			case <-passed:
				late = true
			default:
			}
			var err error
			if ended, err = l.findEnd(ctx, late, ended); err != nil {
				return err
			}
		}
		if r.done() {
			return nil
		}
		more, err := r.step()
		switch {
		case err != nil:
			return err
		case more:
		case r.end != nil:
			return nil
		default:
			if late, err = l.watch.wait(ctx, ended, passed); err != nil {
				return err
			}
		}
	}
}

// findEnd sets where the reading ends, once that is certain: late says that the
// time for it has passed. It returns the channel to watch from now on.
func (l *Log) findEnd(ctx context.Context, late bool, ended <-chan struct{}) (<-chan struct{}, error) {
	if l.watch.ended() {
		return ended, l.reader.finish(unasked(l.reader.dir))
	}
	over := false
	select {
	case <-ended:
		ended, over = nil, true
	default:
	}
	if !late && !over {
		return ended, nil
	}
	now, err := ask(ctx, l.reader.dir)
	if err == nil && now.terminal && !late {
		return ended, nil // its output comes after the task's end, up to the log's
	}
	return ended, l.reader.finish(now, err)
}

func timer(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}

// Close releases a log that is not iterated. It is idempotent.
func (l *Log) Close() error {
	err := errors.Join(l.reader.close(), l.watch.close())
	l.watch = nil
	return err
}
