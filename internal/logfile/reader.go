package logfile

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"
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
}

// wanted says whether the options choose an entry.
func (o ReadOptions) wanted(e Entry) bool {
	return e.Stream != mark && (o.Only == "" || e.Stream == o.Only || e.Stream == Lost) && (o.Since.IsZero() || !e.Time.Before(o.Since))
}

// past says whether no later entry can be wanted.
func (o ReadOptions) past(e Entry) bool { return !o.Until.IsZero() && e.Time.After(o.Until) }

// errStop ends a reading early.
var errStop = errors.New("stop")

// Log is a log opened for one reading.
type Log struct {
	reader reader
	ahead  []Entry // read already
}

// Open opens the log in dir. What was written before is in the log then, also
// if the logger was behind; with a negative Tail, everything that is written
// later is delivered, and nothing that was written before. A log that does not
// exist has no entries. The caller iterates or closes it.
func Open(ctx context.Context, dir string, opts ReadOptions) (_ *Log, err error) {
	l := &Log{reader: reader{dir: dir, opts: opts}}
	// Before the first look, so that nothing happens unseen.
	w, err := newWatcher(dir)
	if err := ignoreAbsent(err); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	if l.reader.watch = w; w != nil {
		if err := l.catchUp(ctx); err != nil {
			return nil, err
		}
	}
	if opts.Tail >= 0 {
		return l, l.reader.seek(ctx)
	}
	return l, nil
}

// catchUp waits until the logger has written what it was given.
func (l *Log) catchUp(ctx context.Context) error {
	r := &reader{dir: l.reader.dir, opts: l.reader.opts, watch: l.reader.watch}
	if err := r.seekEnd(); err != nil {
		return err
	}
	var ahead []Entry
	err := r.follow(ctx, closed, "", func(e Entry) error {
		if r.marked {
			ahead = append(ahead, e)
		}
		return nil
	})
	if err != nil || l.reader.opts.Tail >= 0 {
		return errors.Join(err, r.close())
	}
	r.token, r.marked = "", false
	l.reader, l.ahead = *r, ahead
	return nil
}

// closed is what has ended already.
var closed = func() <-chan struct{} { c := make(chan struct{}); close(c); return c }()

// All returns the entries, in the order in which they were written, and closes
// the log. The sequence ends with ctx's error if ctx ends first. The entries
// are the caller's.
func (l *Log) All(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		deliver := func(e Entry) error {
			if !yield(e, nil) {
				return errStop
			}
			return nil
		}
		err := l.deliver(ctx, deliver)
		if err = errors.Join(err, l.Close()); err != nil && !errors.Is(err, errStop) {
			yield(Entry{}, err)
		}
	}
}

func (l *Log) deliver(ctx context.Context, deliver func(Entry) error) error {
	for _, e := range l.ahead {
		if err := deliver(e); err != nil {
			return err
		}
	}
	r := &l.reader
	if r.opts.Follow {
		return r.follow(ctx, r.opts.Ended, endPrefix, deliver)
	}
	return r.drain(ctx, deliver)
}

// Close releases a log that is not iterated. It is idempotent.
func (l *Log) Close() error {
	err := errors.Join(l.reader.close(), l.reader.watch.close())
	l.reader.watch = nil
	return err
}

// reader is at one place of a log.
type reader struct {
	dir    string
	opts   ReadOptions
	number int      // of the current file
	file   *os.File // the current one, nil if it was removed
	rest   []byte   // the begin of a record that is not complete yet
	skip   int      // lines to leave out
	parser parser
	token  string   // of the mark that ends the reading
	marked bool     // it was read
	watch  *watcher // nil where no logger ever was
}

// follow delivers what there is and what comes, until the log has ended.
func (r *reader) follow(ctx context.Context, ended <-chan struct{}, prefix string, deliver func(Entry) error) error {
	for {
		last := r.watch == nil || r.watch.ended()
		if err := r.drain(ctx, deliver); err != nil || last || r.marked {
			return err
		}
		select {
		case <-ended:
			if ended, r.token = nil, prefix+rand.Text(); !r.watch.ask(r.dir, r.token) {
				continue // the logger is gone, or about to be
			}
		default:
		}
		if err := r.watch.wait(ctx, ended); err != nil {
			return err
		}
	}
}

// seek finds the place to begin at.
func (r *reader) seek(ctx context.Context) error {
	list, err := numbers(r.dir)
	if err != nil || len(list) == 0 {
		return ignoreAbsent(err)
	}
	switch {
	case r.opts.Tail > 0:
		return r.seekTail(ctx, list)
	case !r.opts.Since.IsZero():
		return r.seekTime(list)
	}
	return nil
}

// seekEnd goes to the end of the last file.
func (r *reader) seekEnd() error {
	list, err := numbers(r.dir)
	if err != nil || len(list) == 0 {
		return ignoreAbsent(err)
	}
	if err := r.open(list[len(list)-1]); err != nil || r.file == nil {
		return err
	}
	_, err = r.file.Seek(0, io.SeekEnd)
	return err
}

// seekTail goes back from the last file until there are enough lines.
func (r *reader) seekTail(ctx context.Context, list []int) error {
	lines := 0
	for _, number := range slices.Backward(list) {
		r.number = number - 1
		open := false // a line was begun
		probe := &reader{dir: r.dir, opts: r.opts}
		err := probe.open(number)
		if err == nil && probe.file != nil {
			err = probe.readFile(ctx, func(e Entry) error {
				if open = e.Partial; !open {
					lines++
				}
				return nil
			})
		}
		if open {
			lines++
		}
		if err = errors.Join(err, probe.close()); err != nil && !errors.Is(err, errStop) {
			return err
		}
		if lines >= r.opts.Tail {
			break
		}
	}
	r.skip = max(0, lines-r.opts.Tail)
	return nil
}

// seekTime skips the files that are followed by one that begins before Since.
func (r *reader) seekTime(list []int) error {
	for i, number := range list[1:] {
		first, err := firstTime(fileName(r.dir, number))
		if err != nil {
			return err
		}
		if first.IsZero() || !first.Before(r.opts.Since) {
			return nil
		}
		r.number = list[i]
	}
	return nil
}

// firstTime returns the time of a file's first record, zero if it has none.
func firstTime(name string) (_ time.Time, err error) {
	f, err := os.Open(name)
	if err != nil {
		return time.Time{}, ignoreAbsent(err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	head := make([]byte, len(timeFormat))
	if _, err := io.ReadFull(f, head); err != nil {
		return time.Time{}, nil //nolint:nilerr // it is being written
	}
	t, bad := parseTime(head)
	if bad {
		return time.Time{}, nil
	}
	return t, nil
}

// drain delivers all that there is now.
func (r *reader) drain(ctx context.Context, deliver func(Entry) error) error {
	for {
		// In this order: a file has its last record when the next one is there.
		next, err := r.next()
		if err == nil && r.file != nil {
			err = r.readFile(ctx, deliver)
		}
		if err != nil || next == 0 {
			return err
		}
		if err := r.open(next); err != nil {
			return err
		}
	}
}

// next returns the number of the file after the current one, or 0.
func (r *reader) next() (int, error) {
	list, err := numbers(r.dir)
	if err != nil {
		return 0, ignoreAbsent(err)
	}
	if i := slices.IndexFunc(list, func(n int) bool { return n > r.number }); i >= 0 {
		return list[i], nil
	}
	return 0, nil
}

// open makes a file the current one. One that was removed meanwhile is skipped.
func (r *reader) open(number int) error {
	if err := r.close(); err != nil {
		return err
	}
	r.number, r.rest = number, nil
	f, err := os.Open(fileName(r.dir, number))
	if err != nil {
		return ignoreAbsent(err)
	}
	r.file = f
	return nil
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// readFile delivers the rest of the current file.
func (r *reader) readFile(ctx context.Context, deliver func(Entry) error) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		// A new block each time: the entries are slices of it.
		block := make([]byte, len(r.rest)+readSize)
		begun := copy(block, r.rest)
		n, err := r.file.Read(block[begun:])
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if r.rest, err = r.pass(block[:begun+n], deliver); err != nil {
			return err
		}
	}
}

// pass delivers the complete records of a block, and returns what is left of it.
func (r *reader) pass(block []byte, deliver func(Entry) error) (rest []byte, err error) {
	for {
		end := bytes.IndexByte(block, '\n') + 1
		if end == 0 {
			return block, nil
		}
		e, ok := r.parser.parse(block[:end:end])
		block = block[end:]
		switch {
		case ok && e.Stream == mark && r.token != "" && string(bytes.TrimSpace(e.Data)) == r.token:
			r.marked = true
		case !ok || !r.opts.wanted(e):
		case r.opts.past(e):
			return nil, errStop
		case r.skip > 0:
			if !e.Partial {
				r.skip--
			}
		default:
			if err := deliver(e); err != nil {
				return nil, err
			}
		}
	}
}

func (r *reader) close() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}
