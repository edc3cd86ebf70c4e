package logfile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// written makes a log of what each stream writes, one after the other.
func written(t *testing.T, config Config, texts ...string) string {
	t.Helper()
	config.Dir = filepath.Join(t.TempDir(), "log")
	w, err := Create(config)
	require.NoError(t, err)
	for i, text := range texts {
		require.NoError(t, feed(w, []Stream{Stdout, Stderr}[i%2], strings.NewReader(text)))
	}
	require.NoError(t, w.Close())
	return config.Dir
}

// feed logs all of r, through a pipe.
func feed(w *Writer, stream Stream, r io.Reader) error {
	from, to, err := os.Pipe()
	if err != nil {
		return err
	}
	fed := make(chan error, 1)
	go func() {
		_, err := io.Copy(to, r)
		fed <- errors.Join(err, to.Close())
	}()
	return errors.Join(w.Add(stream, from).Copy(), <-fed, from.Close())
}

// entries opens a log and returns what it has.
func entries(ctx context.Context, dir string, opts ReadOptions) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		l, err := Open(ctx, dir, opts)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		l.All(ctx)(yield)
	}
}

// read returns the entries of a log as text, one per line.
func read(t *testing.T, dir string, opts ReadOptions) []string {
	t.Helper()
	var list []string
	for e, err := range entries(t.Context(), dir, opts) {
		require.NoError(t, err)
		list = append(list, fmt.Sprintf("%s %q", e.Stream, e.Data))
		assert.Equal(t, !bytes.HasSuffix(e.Data, []byte("\n")), e.Partial)
		assert.WithinDuration(t, time.Now(), e.Time, time.Minute)
	}
	return list
}

// content puts the bytes of each stream together again.
func content(t testing.TB, dir string, opts ReadOptions) map[Stream][]byte {
	t.Helper()
	got := map[Stream][]byte{}
	for e, err := range entries(t.Context(), dir, opts) {
		require.NoError(t, err)
		got[e.Stream] = append(got[e.Stream], e.Data...)
	}
	return got
}

func TestRecords(t *testing.T) {
	dir := written(t, Config{}, "one\ntwo\n\nno end", "error\n", "goes on\n")
	assert.Equal(t, []string{
		`stdout "one\n"`, `stdout "two\n"`, `stdout "\n"`, `stdout "no end"`, `stderr "error\n"`, `stdout "goes on\n"`,
	}, read(t, dir, ReadOptions{}))
	assert.Equal(t, []string{`stderr "error\n"`}, read(t, dir, ReadOptions{Only: Stderr}))
	file, err := os.ReadFile(fileName(dir, 1))
	require.NoError(t, err)
	assert.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z stdout F one\n`, string(file), "the format of CRI")
}

func TestALogThatWasNeverBegunIsEmpty(t *testing.T) {
	for _, follow := range []bool{false, true} {
		assert.Empty(t, read(t, filepath.Join(t.TempDir(), "none"), ReadOptions{Follow: follow}))
	}
}

func TestEveryByteComesBack(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	for _, size := range []int{0, 1, readSize - 1, readSize, readSize + 1, 3 << 20} {
		data := make([]byte, size)
		_, err := random.Read(data)
		require.NoError(t, err)
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "halves": iotest.HalfReader,
		} {
			dir := filepath.Join(t.TempDir(), "log")
			w, err := Create(Config{Dir: dir, MaxSize: 1 << 20, MaxFiles: 100})
			require.NoError(t, err)
			require.NoError(t, feed(w, Stderr, wrap(bytes.NewReader(data))))
			require.NoError(t, w.Close())
			assert.Equal(t, sha256.Sum256(data), sha256.Sum256(content(t, dir, ReadOptions{})[Stderr]), "%d bytes, %s", size, name)
		}
	}
}

func TestRotationKeepsTheNewest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	w, err := Create(Config{Dir: dir, MaxSize: 200, MaxFiles: 3})
	require.NoError(t, err)
	for i := range 100 {
		require.NoError(t, feed(w, Stdout, strings.NewReader(fmt.Sprintf("line %d\n", i))))
	}
	require.NoError(t, w.Close())

	list, err := numbers(dir)
	require.NoError(t, err)
	assert.Len(t, list, 3)
	for _, n := range list {
		info, err := os.Stat(fileName(dir, n))
		require.NoError(t, err)
		assert.LessOrEqual(t, info.Size(), int64(200))
	}
	lines := read(t, dir, ReadOptions{})
	assert.Equal(t, `stdout "line 99\n"`, lines[len(lines)-1])
	for i, line := range lines {
		assert.Equal(t, fmt.Sprintf(`stdout "line %d\n"`, 100-len(lines)+i), line, "nothing is missing in between")
	}
}

func TestTail(t *testing.T) {
	for name, config := range map[string]Config{"one file": {}, "many files": {MaxSize: 120, MaxFiles: 1000}} {
		dir := written(t, config, "1\n2\n3\n", "e1\ne2\n", "4\n5\n", "e3\n", "no end")
		assert.Equal(t, []string{`stderr "e3\n"`, `stdout "no end"`}, read(t, dir, ReadOptions{Tail: 2}), name)
		assert.Equal(t, []string{`stderr "e2\n"`, `stderr "e3\n"`}, read(t, dir, ReadOptions{Tail: 2, Only: Stderr}), name)
		assert.Len(t, read(t, dir, ReadOptions{Tail: 100}), 9, name)
		assert.Empty(t, read(t, dir, ReadOptions{Tail: -1}), name)
	}
}

func TestTimeBounds(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	at := func(second int) time.Time { return time.Date(2026, 1, 2, 3, 4, second, 5, time.UTC) }
	for i := range 10 { // two records per file
		record := appendRecord(nil, stamp(at(i)), Stdout, tagFull, fmt.Append(nil, i))
		f, err := os.OpenFile(fileName(dir, i/2+1), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		require.NoError(t, err)
		_, err = f.Write(record)
		require.NoError(t, errors.Join(err, f.Close()))
	}
	seconds := func(opts ReadOptions) (list []string) {
		for e, err := range entries(t.Context(), dir, opts) {
			require.NoError(t, err)
			list = append(list, strings.TrimSpace(string(e.Data)))
			assert.Equal(t, at(int(e.Data[0]-'0')), e.Time)
		}
		return list
	}
	assert.Equal(t, []string{"7", "8", "9"}, seconds(ReadOptions{Since: at(7)}))
	assert.Equal(t, []string{"0", "1", "2"}, seconds(ReadOptions{Until: at(2)}))
	assert.Equal(t, []string{"4", "5"}, seconds(ReadOptions{Since: at(4), Until: at(5)}))
	assert.Equal(t, []string{"9"}, seconds(ReadOptions{Since: at(4), Tail: 1}))
	assert.Empty(t, seconds(ReadOptions{Since: at(20)}))
	assert.Empty(t, seconds(ReadOptions{Since: at(5), Until: at(4)}))
}

// TestFollow has ten readers at once, who begin at different times, and a log
// that rotates under them.
func TestFollow(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	w, err := Create(Config{Dir: dir, MaxSize: 64 << 10, MaxFiles: 1 << 20})
	require.NoError(t, err)
	from, to := io.Pipe()
	var sent bytes.Buffer
	send := func(lines int) {
		var chunk bytes.Buffer
		for i := range lines {
			fmt.Fprintf(&chunk, "line %d of %d\n", i, lines)
		}
		sent.Write(chunk.Bytes())
		_, err := to.Write(chunk.Bytes())
		assert.NoError(t, err)
	}
	copied := make(chan error, 1)
	go func() { copied <- errors.Join(feed(w, Stdout, from), w.Close()) }()
	var readers sync.WaitGroup
	got := make([][]byte, 10)
	for i := range got {
		send(1 + 500*i)
		readers.Go(func() { got[i] = content(t, dir, ReadOptions{Follow: true})[Stdout] })
	}
	send(5000)
	require.NoError(t, to.Close())
	require.NoError(t, <-copied)

	readers.Wait() // they end by themselves
	for i := range got {
		assert.True(t, bytes.Equal(sent.Bytes(), got[i]), "reader %d got %d bytes of %d", i, len(got[i]), sent.Len())
	}
}

func TestFollowDeliversAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	w, err := Create(Config{Dir: dir})
	require.NoError(t, err)
	from, to, err := os.Pipe()
	require.NoError(t, err)
	copied := make(chan error, 1)
	source := w.Add(Stdout, from)
	go func() { copied <- errors.Join(source.Copy(), w.Close(), from.Close()) }()
	_, err = io.WriteString(to, "before\n")
	require.NoError(t, err)
	log, err := Open(t.Context(), dir, ReadOptions{Follow: true, Tail: -1})
	require.NoError(t, err)
	got := make(chan Entry)
	go func() {
		defer close(got)
		for e, err := range log.All(t.Context()) {
			assert.NoError(t, err)
			got <- e
		}
	}()
	for _, text := range []string{"prompt> ", "x\n", "more\n"} {
		_, err := io.WriteString(to, text)
		require.NoError(t, err)
		if e, ok := <-got; assert.True(t, ok) {
			assert.Equal(t, text, string(e.Data), "without waiting for the end of the line")
		}
	}
	require.NoError(t, to.Close())
	require.NoError(t, <-copied)
	_, ok := <-got
	assert.False(t, ok)
}

func TestFollowEndsWithItsContext(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	w, err := Create(Config{Dir: dir})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		var last error
		for _, err := range entries(ctx, dir, ReadOptions{Follow: true}) {
			last = err
		}
		done <- last
	}()
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	require.NoError(t, w.Close())
}

func TestWhatIsNoRecordIsSkipped(t *testing.T) {
	dir := written(t, Config{}, "good\n")
	f, err := os.OpenFile(fileName(dir, 1), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString("\nnonsense\n2026-01-02T03:04:05.000000000Z stdin F x\n2026-01-02T03:04:05.00000000xZ stdout F x\n" +
		"2026-01-02T03:04:05.000000000Z stdout\n2026-01-02T03:04:05.000000000Z stdout F")
	require.NoError(t, errors.Join(err, f.Close()))
	assert.Equal(t, []string{`stdout "good\n"`}, read(t, dir, ReadOptions{}))
}

func TestAFullDiskLosesNothingButWhatDidNotFit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	w, err := Create(Config{Dir: dir})
	require.NoError(t, err)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	require.NoError(t, err)
	good := w.file
	require.NoError(t, feed(w, Stdout, strings.NewReader("before\n")))
	w.file = full
	require.NoError(t, feed(w, Stdout, strings.NewReader("gone\n")), "the logger goes on")
	w.file = good
	require.NoError(t, feed(w, Stdout, strings.NewReader("after\n")))
	require.NoError(t, errors.Join(w.Close(), full.Close()))
	assert.Equal(t, []string{`stdout "before\n"`, `lost "5\n"`, `stdout "after\n"`}, read(t, dir, ReadOptions{}))
}

func TestAReadingHasAllThatWasWrittenBefore(t *testing.T) {
	// Given a process that goes on, and a logger that is behind it,
	dir := filepath.Join(t.TempDir(), "log")
	w, err := Create(Config{Dir: dir, MaxSize: 1 << 20, MaxFiles: 1000})
	require.NoError(t, err)
	from, to, err := os.Pipe()
	require.NoError(t, err)
	copied := make(chan error, 1)
	source := w.Add(Stdout, from)
	go func() { copied <- source.Copy() }()
	var sent bytes.Buffer
	for i := range 200 {
		line := strings.Repeat("x", i) + "\n"
		sent.WriteString(line)
		_, err := to.WriteString(line)
		require.NoError(t, err)

		got := content(t, dir, ReadOptions{})[Stdout] // without Follow

		require.True(t, bytes.Equal(sent.Bytes(), got), "line %d: got %d bytes of %d", i, len(got), sent.Len())
	}

	// and one that follows until the process has ended, whose pipe somebody else
	// holds open.
	ended := make(chan struct{})
	followed := make(chan []byte, 1)
	go func() {
		var got []byte
		for e, err := range entries(t.Context(), dir, ReadOptions{Follow: true, Ended: ended}) {
			assert.NoError(t, err)
			got = append(got, e.Data...)
		}
		followed <- got
	}()
	sent.WriteString("last words")
	_, err = to.WriteString("last words")
	require.NoError(t, err)
	close(ended)
	assert.Equal(t, sent.String(), string(<-followed))

	require.NoError(t, to.Close())
	require.NoError(t, errors.Join(<-copied, w.Close(), from.Close()))
}

func TestATerminalsLogIsFollowedToItsEnd(t *testing.T) {
	// Given a terminal whose output comes later than the end of its task,
	dir := filepath.Join(t.TempDir(), "log")
	w, err := Create(Config{Dir: dir, Terminal: true})
	require.NoError(t, err)
	from, to, err := os.Pipe()
	require.NoError(t, err)
	source, copied := w.Add(Stdout, from), make(chan error, 1)
	go func() { copied <- errors.Join(source.Copy(), w.Close(), from.Close()) }()
	log, err := Open(t.Context(), dir, ReadOptions{Follow: true, Ended: closed})
	require.NoError(t, err)
	_, err = to.WriteString("first")
	require.NoError(t, err)
	var got []byte
	for e, err := range log.All(t.Context()) {
		require.NoError(t, err)
		if got = append(got, e.Data...); len(got) == len("first") {
			_, err := to.WriteString(" and last")
			require.NoError(t, errors.Join(err, to.Close()))
		}
	}
	assert.Equal(t, "first and last", string(got))
	require.NoError(t, <-copied)
}

func TestADeadlineEndsTheCopy(t *testing.T) {
	w, err := Create(Config{Dir: t.TempDir()})
	require.NoError(t, err)
	from, to, err := os.Pipe()
	require.NoError(t, err)
	copied := make(chan error, 1)
	source := w.Add(Stdout, from)
	go func() { copied <- source.Copy() }()
	require.NoError(t, from.SetReadDeadline(time.Unix(1, 0)))
	require.ErrorIs(t, <-copied, os.ErrDeadlineExceeded)
	require.NoError(t, errors.Join(to.Close(), from.Close(), w.Close()))
}

func BenchmarkCopy(b *testing.B) {
	const size = 64 << 20
	data := bytes.Repeat([]byte(strings.Repeat("x", 79)+"\n"), size/80)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		w, err := Create(Config{Dir: b.TempDir(), MaxSize: 1 << 30})
		require.NoError(b, err)
		require.NoError(b, feed(w, Stdout, bytes.NewReader(data)))
		require.NoError(b, w.Close())
	}
}

func BenchmarkRead(b *testing.B) {
	const size = 64 << 20
	dir := b.TempDir()
	data := bytes.Repeat([]byte(strings.Repeat("x", 79)+"\n"), size/80)
	w, err := Create(Config{Dir: dir, MaxSize: 1 << 30})
	require.NoError(b, err)
	require.NoError(b, feed(w, Stdout, bytes.NewReader(data)))
	require.NoError(b, w.Close())
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		n := 0
		for e, err := range entries(b.Context(), dir, ReadOptions{}) {
			require.NoError(b, err)
			n += len(e.Data)
		}
		require.Equal(b, len(data), n)
	}
}
