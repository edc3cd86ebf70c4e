// Package logfile keeps what a container writes in files: a logger appends to
// them, any number of readers in any processes read and follow them.
//
// A directory holds the log of one container, and has a file that says whose.
// A log's files have increasing numbers; the one with the highest is written to,
// and the lowest are removed when there are too many. A file has one record per
// line, in the format of Kubernetes' container runtime interface (CRI): time,
// stream, F or P, text. A record tagged P is a part of a line that goes on in the
// stream's next one; that way every byte is kept, also of lines without end.
package logfile

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Stream names what a record was written to.
type Stream string

// The streams of a process, and that of the logger itself: in Lost it says how
// many bytes it could not write. A reader gives an entry of Lost without data
// where files were removed before it got to them.
const (
	Stdout Stream = "stdout"
	Stderr Stream = "stderr"
	Lost   Stream = "lost"
)

const (
	// timeFormat has a fixed width, so that files sort.
	timeFormat = "2006-01-02T15:04:05.000000000Z"
	suffix     = ".log"
	// aliveName is a FIFO that the logger holds open: its end is the logger's.
	aliveName = "alive"
	// askName is a socket through which the logger tells readers how far it is.
	askName = "ask"
	// inputName is a FIFO for the task's input.
	inputName = "stdin"

	tagFull    = 'F'
	tagPartial = 'P'
)

// Defaults of [Config].
const (
	DefaultMaxSize  = 16 << 20
	DefaultMaxFiles = 4
)

// Config says where a log goes, and how much of it is kept.
type Config struct {
	Dir      string
	MaxSize  int64 `json:",omitempty"` // of one file; 0 means DefaultMaxSize
	MaxFiles int   `json:",omitempty"` // 0 means DefaultMaxFiles
	// Terminal says that the output is a terminal's, all of it on stdout. It goes
	// through the shim, and so comes later than the end of the task; but it ends.
	Terminal bool `json:",omitempty"`
	// Stdin says that the task has an input.
	Stdin bool `json:",omitempty"`
	// Owner says whose log it is.
	Owner Owner `json:",omitzero"`
	// Origin says who asked for the log. It is only carried along.
	Origin string `json:",omitempty"`
}

func (c Config) maxSize() int64 { return cmp.Or(c.MaxSize, DefaultMaxSize) }
func (c Config) maxFiles() int  { return cmp.Or(c.MaxFiles, DefaultMaxFiles) }

// fileName returns the path of a file of the log.
func fileName(dir string, number int) string {
	return filepath.Join(dir, fmt.Sprintf("%08d%s", number, suffix))
}

// numbers returns the numbers of the files, in order.
func numbers(dir string) ([]int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var list []int
	for _, entry := range entries {
		if n, ok := numberOf(entry); ok {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list, nil
}

// numberOf returns the number of a file of the log; ok is false for any other
// file.
func numberOf(entry fs.DirEntry) (n int, ok bool) {
	text, ok := strings.CutSuffix(entry.Name(), suffix)
	n, err := strconv.Atoi(text)
	ok = ok && err == nil && n > 0 && entry.Type().IsRegular() && filepath.Base(fileName("", n)) == entry.Name()
	return n, ok
}

// appendRecord adds a record; text has no newline in it.
func appendRecord(to []byte, at string, stream Stream, tag byte, text []byte) []byte {
	to = append(to, at...)
	to = append(to, ' ')
	to = append(to, stream...)
	to = append(to, ' ', tag, ' ')
	to = append(to, text...)
	return append(to, '\n')
}

func stamp(t time.Time) string { return t.UTC().Format(timeFormat) }
