package logfile

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
)

// starts are the places from which on each stream is delivered. Lines of two
// streams may have been written in turn, so there is no one place.
type starts struct {
	end position // of those that have none
	of  map[Stream]position
}

func (s *starts) skips(stream Stream, at position) bool {
	if stream == Lost {
		return false
	}
	begin, ok := s.of[stream]
	if !ok {
		begin = s.end
	}
	return at.before(begin)
}

// line is one that ends in a file, or is the part of one that goes on in a
// later file.
type line struct {
	stream Stream
	begin  position
	last   position // its last record
	// first says that no record of the stream comes before it in the file: it may
	// have begun in an earlier one.
	first bool
}

// tail looks for the last lines, from the last file to the first.
type tail struct {
	opts   ReadOptions
	left   int // lines still to be found
	starts starts
	begun  map[Stream]bool // streams seen in later files
	open   map[Stream]bool // the first line found may have begun earlier
	// first is where the first one begins. It keeps the file, which may be removed
	// meanwhile.
	first cursor
}

// seekTail goes to where the last lines of a log that ends at end begin. A line
// counts where it ends.
func (r *reader) seekTail(ctx context.Context, list []int, end position) (err error) {
	t := &tail{
		opts: r.opts, left: r.opts.Tail, starts: starts{end: end, of: map[Stream]position{}},
		begun: map[Stream]bool{}, open: map[Stream]bool{}, first: cursor{at: end},
	}
	defer func() { err = errors.Join(err, t.first.close()) }()
	for _, number := range slices.Backward(list) {
		if number > end.number {
			continue
		}
		if err := t.add(ctx, r.dir, number); err != nil {
			return err
		}
		if t.left == 0 && len(t.open) == 0 {
			break
		}
	}
	if t.left > 0 {
		return r.open(position{number: list[0]}) // all
	}
	r.from = &t.starts
	if t.first.file == nil {
		return r.open(t.first.at)
	}
	r.at, r.file, t.first.file = t.first.at, t.first.file, nil
	return nil
}

// add takes the lines of the file before those that it has.
func (t *tail) add(ctx context.Context, dir string, number int) (err error) {
	r := &reader{dir: dir}
	if err := r.open(position{number: number}); err != nil || r.file == nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	f := &fileLines{opts: t.opts, most: t.left, parts: map[Stream]*line{}, seen: map[Stream]bool{}}
	if err := f.scan(ctx, &r.cursor, t.starts.end); err != nil {
		return err
	}
	t.choose(f)
	for _, at := range t.starts.of {
		if at.before(t.first.at) {
			t.first.at = at
		}
	}
	if t.first.at.number == number {
		t.first.file, r.file = r.file, t.first.file
	}
	return nil
}

// choose takes the last lines of a file, and the begins of lines that it has.
func (t *tail) choose(f *fileLines) {
	for stream, part := range f.parts {
		switch {
		case t.open[stream]: // it goes on with the line that was found
			t.starts.of[stream] = part.begin
			if !part.first {
				delete(t.open, stream)
			}
		case !t.begun[stream]: // it is the stream's last one, without an end
			f.lines = append(f.lines, *part)
		}
	}
	for stream := range t.open {
		if f.seen[stream] && f.parts[stream] == nil {
			delete(t.open, stream)
		}
	}
	for stream := range f.seen {
		t.begun[stream] = true
	}
	slices.SortStableFunc(f.lines, func(a, b line) int { return cmp.Compare(a.last.offset, b.last.offset) })
	for _, l := range slices.Backward(f.lines) {
		if t.left == 0 {
			break
		}
		t.left--
		t.starts.of[l.stream] = l.begin
		if delete(t.open, l.stream); l.first {
			t.open[l.stream] = true
		}
	}
}

// fileLines are the last lines of one file.
type fileLines struct {
	opts  ReadOptions
	most  int
	lines []line           // in the order of their ends
	parts map[Stream]*line // lines without an end
	seen  map[Stream]bool
}

// scan reads a file of a log that ends at end.
func (f *fileLines) scan(ctx context.Context, c *cursor, end position) error {
	for {
		limit := int64(math.MaxInt64)
		if c.at.number == end.number {
			limit = end.offset - c.at.offset
		}
		if n, err := c.read(limit, f.visit); n == 0 || err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

func (f *fileLines) visit(e Entry, at position) error {
	if e.Stream == Lost || !f.opts.wanted(e) {
		return nil
	}
	part := f.parts[e.Stream]
	if part == nil {
		part = &line{stream: e.Stream, begin: at, first: !f.seen[e.Stream]}
		f.seen[e.Stream] = true
	}
	part.last = at
	if e.Partial {
		f.parts[e.Stream] = part
		return nil
	}
	delete(f.parts, e.Stream)
	if len(f.lines) > 1024 && len(f.lines)/2 > f.most {
		f.lines = append(f.lines[:0], f.lines[len(f.lines)-f.most:]...)
	}
	f.lines = append(f.lines, *part)
	return nil
}
