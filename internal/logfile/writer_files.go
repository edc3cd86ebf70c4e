package logfile

import (
	"bytes"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// resume goes on in the last file of the log. If that is full, can't be written
// to, or another logger still has it, it begins the next one.
func (w *Writer) resume() error {
	list, err := numbers(w.config.Dir)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return w.rotate()
	}
	name := fileName(w.config.Dir, list[len(list)-1])
	f, err := os.OpenFile(name, os.O_RDWR|os.O_APPEND|unix.O_NOFOLLOW, 0)
	if err != nil {
		return w.rotate()
	}
	if size, cut, err := taken(f); err == nil && size < w.config.maxSize() {
		w.file, w.size, w.cut = f, size, cut
		return nil
	}
	if err := f.Close(); err != nil {
		return err
	}
	return w.rotate()
}

// taken locks a file that has records already. cut says that the last of them
// has no end: its logger died.
func taken(f *os.File) (size int64, cut bool, err error) {
	if err := lock(f); err != nil {
		return 0, false, err
	}
	if size, err = f.Seek(0, io.SeekEnd); err != nil || size == 0 {
		return size, false, err
	}
	last := make([]byte, 1)
	_, err = f.ReadAt(last, size-1)
	return size, last[0] != '\n', err
}

// lock makes sure that a file has one writer, who may truncate it. The lock ends
// with the file's descriptor.
func lock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

// rotate begins the next file, and removes those that are too many.
func (w *Writer) rotate() error {
	// A file that can't be closed is done with all the same.
	closed := w.closeFile()
	list, err := numbers(w.config.Dir)
	if err != nil {
		return errors.Join(err, closed)
	}
	next := 1
	if len(list) > 0 {
		next = list[len(list)-1] + 1
	}
	f, err := os.OpenFile(fileName(w.config.Dir, next), os.O_CREATE|os.O_EXCL|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return errors.Join(err, closed)
	}
	if err := lock(f); errors.Is(err, unix.EWOULDBLOCK) {
		return errors.Join(err, closed, f.Close()) // another logger was quicker to go on in it
	}
	w.file, w.size, w.cut = f, 0, false
	for len(list) > 0 && len(list) >= w.config.maxFiles() {
		os.Remove(fileName(w.config.Dir, list[0])) //nolint:errcheck // the next rotation tries again
		list = list[1:]
	}
	return nil
}

func (w *Writer) closeFile() error {
	if w.file == nil {
		return nil
	}
	f := w.file
	w.file = nil
	return f.Close()
}

// put writes records to the current file and the next ones, and returns those
// that it could not write.
func (w *Writer) put(records []byte) (left []byte) {
	for len(records) > 0 {
		fits := w.fitting(records)
		if w.file == nil || fits == 0 && w.size > 0 {
			if w.rotate() != nil {
				return records
			}
			fits = w.fitting(records)
		}
		n, err := w.append(records[:max(fits, bytes.IndexByte(records, '\n')+1)])
		records = records[n:]
		// Another file may be better, but takes no room where there is none, and
		// is not for files that fail from their beginning.
		if err != nil && (full(err) || w.size == 0 || w.rotate() != nil) {
			return records
		}
	}
	return nil
}

// full says whether an error is about want of room.
func full(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// fitting returns the length of the first records that the current file has
// room for.
func (w *Writer) fitting(records []byte) int {
	room := max(0, w.config.maxSize()-w.size)
	if int64(len(records)) <= room {
		return len(records)
	}
	return bytes.LastIndexByte(records[:room], '\n') + 1
}

// append writes records to the current file, and returns the length of those
// that are there, whole.
func (w *Writer) append(records []byte) (int, error) {
	if w.cut {
		if _, err := w.file.Write([]byte{'\n'}); err != nil {
			return 0, err
		}
		w.size++
		w.cut = false
	}
	n, err := w.file.Write(records)
	w.size += int64(n)
	if err == nil {
		return n, nil
	}
	whole := bytes.LastIndexByte(records[:n], '\n') + 1
	if whole < n {
		if w.file.Truncate(w.size-int64(n-whole)) == nil {
			w.size -= int64(n - whole)
		} else {
			w.cut = true
		}
	}
	return whole, err
}

// payload returns how many bytes of the streams the records have.
func payload(records []byte) (n int64) {
	for len(records) > 0 {
		end := bytes.IndexByte(records, '\n')
		record := records[len(timeFormat)+1 : end]
		records = records[end+1:]
		_, record, _ = bytes.Cut(record, []byte{' '}) // the stream
		n += int64(len(record) - len("F "))
		if record[0] == tagFull {
			n++
		}
	}
	return n
}
