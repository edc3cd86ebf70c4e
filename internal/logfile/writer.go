package logfile

import (
	"bytes"
	"errors"
	"io/fs"
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
	ask    *os.File
	asking sync.WaitGroup

	mu      sync.Mutex
	sources map[*Source]struct{}
	file    *os.File // nil after a failed rotation
	number  int
	size    int64
	lost    int64 // bytes that could not be written, and were not reported yet
}

// Create begins a new file of the log in a directory that it makes if it is
// absent. The caller closes it.
func Create(config Config) (_ *Writer, err error) {
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return nil, err
	}
	w := &Writer{config: config, sources: map[*Source]struct{}{}}
	if w.ask, err = openFIFO(config.Dir, askName); err != nil {
		return nil, err
	}
	if w.alive, err = openFIFO(config.Dir, aliveName); err != nil {
		return nil, errors.Join(err, w.ask.Close())
	}
	if err := w.rotate(); err != nil {
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

// rotate begins the next file, and removes those that are too many.
func (w *Writer) rotate() error {
	if w.file != nil {
		if err := w.file.Close(); err != nil {
			return err
		}
		w.file = nil
	}
	list, err := numbers(w.config.Dir)
	if err != nil {
		return err
	}
	next := 1
	if len(list) > 0 {
		next = list[len(list)-1] + 1
	}
	f, err := os.OpenFile(fileName(w.config.Dir, next), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	w.file, w.number, w.size = f, next, 0
	for len(list) > 0 && len(list) >= w.config.maxFiles() {
		if err := os.Remove(fileName(w.config.Dir, list[0])); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		list = list[1:]
	}
	return nil
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

// write appends records that stand for n bytes.
func (w *Writer) write(records []byte, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost > 0 {
		note := appendRecord(nil, stamp(time.Now()), Lost, tagFull, strconv.AppendInt(nil, w.lost, 10))
		if w.put(note) {
			w.lost = 0
		}
	}
	if !w.put(records) {
		w.lost += int64(n)
	}
}

// put writes records to the current file and the next ones, and reports whether
// it could write them all.
func (w *Writer) put(records []byte) bool {
	for len(records) > 0 {
		fits := w.fitting(records)
		if fits == 0 || w.file == nil {
			if w.rotate() != nil {
				return false
			}
			fits = max(w.fitting(records), bytes.IndexByte(records, '\n')+1)
		}
		if !w.append(records[:fits]) {
			return false
		}
		records = records[fits:]
	}
	return true
}

// fitting returns the length of the first records that the current file has
// room for.
func (w *Writer) fitting(records []byte) int {
	room := max(0, w.config.maxSize()-w.size)
	if int64(len(records)) <= room {
		return len(records)
	}
	return bytes.LastIndexByte(records[:room], '\n') + 1
}

// append writes records to the current file, all or nothing.
func (w *Writer) append(records []byte) bool {
	n, err := w.file.Write(records)
	if err != nil {
		if n > 0 && w.file.Truncate(w.size) != nil {
			w.size += int64(n) // a reader skips a record that is cut
		}
		return false
	}
	w.size += int64(n)
	return true
}

// Close ends the log: readers that follow it end when they have read all.
func (w *Writer) Close() error {
	asked := w.ask.Close()
	w.asking.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	var err error
	if w.file != nil {
		err = w.file.Close()
	}
	return errors.Join(asked, err, w.alive.Close())
}
