package logfile

import (
	"bytes"
	"time"
)

// Entry is one record of a log.
type Entry struct {
	Time   time.Time
	Stream Stream
	// Data is what was written, with the newline at its end if it had one there.
	Data []byte
	// Partial says that Data has no newline, because more of the line follows or
	// because the stream ended without one.
	Partial bool
}

// parser remembers the last time that it has read: all records of what was
// written at once have the same.
type parser struct {
	text []byte
	time time.Time
}

// parse reads a record, given with its newline. ok is false for what is none.
func (p *parser) parse(line []byte) (e Entry, ok bool) {
	at, rest, found := bytes.Cut(line[:len(line)-1], []byte{' '})
	if !found || len(at) != len(timeFormat) {
		return e, false
	}
	if !bytes.Equal(at, p.text) {
		t, bad := parseTime(at)
		if bad {
			return e, false
		}
		p.text, p.time = append(p.text[:0], at...), t
	}
	stream, rest, found := bytes.Cut(rest, []byte{' '})
	if !found || len(rest) < 2 || rest[1] != ' ' {
		return e, false
	}
	e.Time, e.Partial = p.time, rest[0] == tagPartial
	switch string(stream) {
	case string(Stdout):
		e.Stream = Stdout
	case string(Stderr):
		e.Stream = Stderr
	case string(Lost):
		e.Stream = Lost
	default:
		return e, false
	}
	start := len(line) - 1 - len(rest) + 2
	end := len(line)
	if e.Partial {
		end--
	}
	e.Data = line[start:end:end]
	return e, true
}

// parseTime parses the fixed format, several times faster than package time.
func parseTime(b []byte) (t time.Time, bad bool) {
	number := func(from, to int) (n int) {
		for _, c := range b[from:to] {
			if c < '0' || c > '9' {
				bad = true
			}
			n = 10*n + int(c-'0')
		}
		return n
	}
	t = time.Date(number(0, 4), time.Month(number(5, 7)), number(8, 10),
		number(11, 13), number(14, 16), number(17, 19), number(20, 29), time.UTC)
	return t, bad
}
