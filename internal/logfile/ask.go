package logfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// position is a place in a log, between two records.
type position struct {
	number int // of the file
	offset int64
}

// before says whether p comes earlier in the log than q.
func (p position) before(q position) bool {
	return p.number < q.number || p.number == q.number && p.offset < q.offset
}

// answer is what the logger says to who asks: how far the log goes, and whether
// the end of the log says better when a task's output is complete.
type answer struct {
	end      position
	terminal bool
}

const answerFormat = "%d %d %t\n"

func (a answer) append(to []byte) []byte {
	return fmt.Appendf(to, answerFormat, a.end.number, a.end.offset, a.terminal)
}

// ask has the logger of the log in dir write down all that its streams have
// now. Without a logger the log's end is where it is.
func ask(ctx context.Context, dir string) (a answer, err error) {
	address, release, err := askAddress(dir)
	if err != nil {
		return a, ignoreAbsent(err)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", address)
	err = errors.Join(err, release())
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return unasked(dir)
	} else if err != nil {
		return a, endOf(ctx, err)
	}
	defer conn.Close() //nolint:errcheck // it is only read
	stop := context.AfterFunc(ctx, func() {
		conn.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // closed is ended
	})
	defer stop()
	text, err := io.ReadAll(conn)
	switch {
	case errors.Is(err, unix.ECONNRESET) || err == nil && len(text) == 0:
		return unasked(dir) // it has just ended
	case err != nil:
		return a, endOf(ctx, err)
	}
	if _, err := fmt.Sscanf(string(text), answerFormat, &a.end.number, &a.end.offset, &a.terminal); err != nil {
		return a, fmt.Errorf("the logger of %s answers %q: %w", dir, text, err)
	}
	return a, nil
}

// endOf returns ctx's error if that is why err came.
func endOf(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil {
		return ended
	}
	return err
}

// unasked returns the answer of a log that nobody writes to: a logger has
// written everything when it ends.
func unasked(dir string) (a answer, err error) {
	list, err := numbers(dir)
	if err != nil || len(list) == 0 {
		return a, ignoreAbsent(err)
	}
	a.end.number = list[len(list)-1]
	info, err := os.Stat(fileName(dir, a.end.number))
	if err != nil {
		return a, ignoreAbsent(err)
	}
	a.end.offset = info.Size()
	return a, nil
}
