package logfile

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"slices"
	"time"
)

// reader is at one place of a log.
type reader struct {
	cursor
	dir     string
	opts    ReadOptions
	deliver func(Entry) error
	end     *position // where the reading ends, nil if that is not certain yet
	next    int       // number of the file after the current one, 0 if none was seen
	missed  bool      // the current file was removed before it was opened
	from    *starts   // nil for those who want more than the last lines
	kept    []byte    // what was delivered is a part of it
}

const (
	// keptSize is how much is allocated at once for what is delivered. Who keeps
	// one entry keeps that much memory.
	keptSize = 4 << 10
	// keptEntry is the size from which on an entry has memory of its own.
	keptEntry = keptSize / 8
)

// done says whether the reading is at its end.
func (r *reader) done() bool { return r.end != nil && !r.at.before(*r.end) }

// finish sets the end of the reading.
func (r *reader) finish(now answer, err error) error {
	if err != nil {
		return err
	}
	if r.end = &now.end; r.file != nil && now.end.number < r.at.number {
		// The log was removed; what is left of it is the file that is open.
		info, err := r.file.Stat()
		if err != nil {
			return err
		}
		r.end = &position{r.at.number, info.Size()}
	}
	return nil
}

// step delivers a block, or goes on to the next file; more is false if there
// was nothing to do.
func (r *reader) step() (more bool, err error) {
	if r.file != nil {
		limit := int64(math.MaxInt64)
		if r.end != nil && r.end.number == r.at.number {
			limit = r.end.offset - r.at.offset
		}
		if n, err := r.read(limit, r.visit); n > 0 || err != nil {
			return true, err
		}
		if cut, err := r.rewind(); err != nil {
			return true, err
		} else if cut {
			return true, r.tellGap(time.Now())
		}
	}
	if r.end != nil && r.at.number >= r.end.number {
		if r.missed {
			err = r.tellGap(time.Now())
		}
		return false, err
	}
	if r.next != 0 {
		next := r.next
		r.next = 0
		return true, r.goOn(next)
	}
	// A file has its last record when the next one is there: it is read again.
	if r.next, err = r.following(); err != nil || r.next != 0 {
		return true, err
	}
	if r.end != nil { // all the rest was removed
		return false, r.tellGap(time.Now())
	}
	return false, nil
}

// following returns the number of the file after the current one, or 0.
func (r *reader) following() (int, error) {
	list, err := numbers(r.dir)
	if err != nil {
		return 0, ignoreAbsent(err)
	}
	if i := slices.IndexFunc(list, func(n int) bool { return n > r.at.number }); i >= 0 {
		return list[i], nil
	}
	return 0, nil
}

// goOn makes a later file the current one, and tells if files before it were
// removed before they were read.
func (r *reader) goOn(number int) error {
	gap := r.missed || number != r.at.number+1
	if err := r.open(position{number: number}); err != nil || !gap {
		return err
	}
	first, err := firstTime(fileName(r.dir, number))
	if err != nil {
		return err
	}
	if first.IsZero() {
		first = time.Now()
	}
	return r.tellGap(first)
}

// tellGap delivers that records are missing that were logged until a time.
func (r *reader) tellGap(until time.Time) error {
	last := r.parser.time
	if until.Before(r.opts.Since) || !r.opts.Until.IsZero() && last.After(r.opts.Until) {
		return nil // all of them unwanted
	}
	return r.deliver(Entry{Time: until, Stream: Lost})
}

// open makes a file the current one. It may have been removed meanwhile.
func (r *reader) open(at position) error {
	if err := r.close(); err != nil {
		return err
	}
	r.at, r.missed = at, false
	f, err := os.Open(fileName(r.dir, at.number))
	if errors.Is(err, fs.ErrNotExist) {
		r.missed = true
		return nil
	} else if err != nil {
		return err
	}
	r.file = f
	return nil
}

// visit delivers an entry that is wanted.
func (r *reader) visit(e Entry, at position) error {
	if r.from != nil && r.from.skips(e.Stream, at) || !r.opts.wanted(e) {
		return nil
	}
	e.Data = r.keep(e.Data)
	return r.deliver(e)
}

// keep copies what is delivered out of the buffer that is read into. Small
// entries share memory, so that they are cheap, but not much of it.
func (r *reader) keep(data []byte) []byte {
	if len(data) >= keptEntry {
		return slices.Clone(data)
	}
	if cap(r.kept)-len(r.kept) < len(data) {
		r.kept = make([]byte, 0, keptSize)
	}
	begin := len(r.kept)
	r.kept = append(r.kept, data...)
	return r.kept[begin:len(r.kept):len(r.kept)]
}
