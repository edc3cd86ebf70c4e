package logfile

import (
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// seek goes to the place to begin at, in a log that ends at end.
func (r *reader) seek(ctx context.Context, end position) error {
	list, err := numbers(r.dir)
	if err != nil || len(list) == 0 {
		return ignoreAbsent(err)
	}
	begin := position{number: list[0]}
	switch {
	case r.opts.Tail < 0:
		begin = end
	case r.opts.Tail > 0:
		return r.seekTail(ctx, list, end)
	case !r.opts.Since.IsZero():
		if begin.number, err = r.seekTime(list); err != nil {
			return err
		}
	}
	return r.open(begin)
}

// seekTime skips the files that begin before Since and are followed by one that
// does.
func (r *reader) seekTime(list []int) (int, error) {
	for i, number := range list {
		first, err := firstTime(fileName(r.dir, number))
		if err != nil {
			return 0, err
		}
		if first.IsZero() || !first.Before(r.opts.Since) {
			return list[max(0, i-1)], nil
		}
	}
	return list[len(list)-1], nil
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
