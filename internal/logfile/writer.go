package logfile

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Writer appends to a log. Its methods are safe for concurrent use by multiple
// goroutines.
type Writer struct {
	config Config
	alive  *os.File
	ask    net.Listener
	asking sync.WaitGroup

	mu      sync.Mutex
	sources map[*Source]struct{}
	file    *os.File // nil after a failed rotation
	size    int64    // of the file
	cut     bool     // the file's last record has no end
	lost    int64    // bytes that could not be written, and were not reported yet
}

// Create goes on with the log in a directory that it claims for config's owner,
// as [Claim] does. The caller closes it.
func Create(config Config) (_ *Writer, err error) {
	if _, err := Claim(config); err != nil {
		return nil, err
	}
	if err := keep(config); err != nil {
		return nil, err
	}
	w := &Writer{config: config, sources: map[*Source]struct{}{}}
	if w.ask, err = listen(config.Dir); err != nil {
		return nil, err
	}
	if w.alive, err = openFIFO(config.Dir, aliveName); err != nil {
		return nil, errors.Join(err, w.ask.Close())
	}
	if err := w.resume(); err != nil {
		return nil, errors.Join(err, w.ask.Close(), w.alive.Close())
	}
	w.asking.Go(w.answer)
	return w, nil
}

// openFIFO opens both ends of a FIFO, which it makes if it is absent.
func openFIFO(dir, file string) (*os.File, error) {
	name := filepath.Join(dir, file)
	if err := unix.Mkfifo(name, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, &fs.PathError{Op: "mkfifo", Path: name, Err: err}
	}
	return os.OpenFile(name, os.O_RDWR|unix.O_NONBLOCK, 0)
}

// Input returns the path of the FIFO for the input of the task that the log in
// dir is of.
func Input(dir string) string { return filepath.Join(dir, inputName) }

// MakeInput makes that FIFO, if it is absent, and returns its path.
func MakeInput(dir string) (string, error) {
	f, err := openFIFO(dir, inputName)
	if err != nil {
		return "", err
	}
	return Input(dir), f.Close()
}

// split appends data as records: one per line, and one for what has no end yet.
func split(records []byte, at string, stream Stream, data []byte) []byte {
	for len(data) > 0 {
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			return appendRecord(records, at, stream, tagPartial, data)
		}
		records = appendRecord(records, at, stream, tagFull, data[:end])
		data = data[end+1:]
	}
	return records
}

// write appends records that stand for n bytes of a stream.
func (w *Writer) write(records []byte, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost > 0 {
		note := appendRecord(nil, stamp(time.Now()), Lost, tagFull, strconv.AppendInt(nil, w.lost, 10))
		if len(w.put(note)) == 0 {
			w.lost = 0
		}
	}
	if left := w.put(records); n > 0 {
		w.lost += payload(left)
	}
}

// Close ends the log: readers that follow it end when they have read all.
func (w *Writer) Close() error {
	asked := w.ask.Close()
	w.asking.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(asked, w.closeFile(), w.alive.Close())
}
