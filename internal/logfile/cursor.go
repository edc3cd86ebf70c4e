package logfile

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
)

// cursor reads records of one file.
type cursor struct {
	at     position // of the next record
	file   *os.File // nil if it was removed
	parser parser
	buffer []byte // it is used again and again
}

// read visits the whole records in the next limit bytes, each with where it
// begins. Their data is valid during the visit only. n is the records' length; it
// is 0 at the end of the file.
//
// What there is of a record without an end is read again: it can be of a write
// that failed, and the logger takes that back.
func (c *cursor) read(limit int64, visit func(Entry, position) error) (n int, err error) {
	if c.buffer == nil {
		c.buffer = make([]byte, readSize)
	}
	for {
		n, err = c.file.ReadAt(c.buffer[:min(int64(len(c.buffer)), max(0, limit))], c.at.offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return n, err
		}
		block := c.buffer[:n]
		if n < len(c.buffer) || bytes.IndexByte(block, '\n') >= 0 {
			return c.pass(block, visit)
		}
		c.buffer = make([]byte, 2*len(c.buffer)) // for a long record
	}
}

// pass visits the whole records of a block, and goes on behind them.
func (c *cursor) pass(block []byte, visit func(Entry, position) error) (n int, err error) {
	for {
		length := bytes.IndexByte(block[n:], '\n') + 1
		if length == 0 {
			return n, nil
		}
		record, begin := block[n:n+length:n+length], c.at
		n += length
		c.at.offset += int64(length)
		if e, ok := c.parser.parse(record); ok {
			if err := visit(e, begin); err != nil {
				return n, err
			}
		}
	}
}

// rewind goes back to the begin of a file that somebody has cut, and says
// whether it has.
func (c *cursor) rewind() (bool, error) {
	info, err := c.file.Stat()
	if err != nil || info.Size() >= c.at.offset {
		return false, err
	}
	c.at.offset = 0
	return true, nil
}

func (c *cursor) close() error {
	if c.file == nil {
		return nil
	}
	err := c.file.Close()
	c.file = nil
	return err
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
