package logfile

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// second is a time of logOf's records.
func second(n int) time.Time { return time.Date(2026, 1, 2, 3, 4, n, 0, time.UTC) }

// logOf makes a log of files with records like "7 stdout F text", which begin
// with a second.
func logOf(t *testing.T, files ...[]string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "log")
	require.NoError(t, os.Mkdir(dir, 0o700))
	for i, records := range files {
		addFile(t, dir, i+1, records)
	}
	return dir
}

func addFile(t *testing.T, dir string, number int, records []string) {
	t.Helper()
	var data []byte
	for _, record := range records {
		at, stream, tag, text := 0, Stream(""), "", ""
		_, err := fmt.Sscan(record, &at, &stream, &tag, &text)
		require.NoError(t, err)
		data = appendRecord(data, stamp(second(at)), stream, tag[0], []byte(text))
	}
	require.NoError(t, os.WriteFile(fileName(dir, number), data, 0o600))
}

// texts returns the data of what a log gives, and "lost" for what is missing.
func texts(t *testing.T, dir string, opts ReadOptions) (list []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for e, err := range entries(ctx, dir, opts) {
		require.NoError(t, err)
		list = append(list, text(e))
	}
	return list
}

func text(e Entry) string {
	if e.Stream == Lost {
		return "lost" + string(e.Data)
	}
	return strings.TrimSpace(string(e.Data))
}

func TestUntilWhileTheTaskWrites(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	_, to, end := piped(t, Config{Dir: dir, MaxSize: 1 << 20})
	_, err := to.WriteString("early\n")
	require.NoError(t, err)
	early := read(t, dir, ReadOptions{})
	require.Equal(t, []string{`stdout "early\n"`}, early)
	until := time.Now()
	stop := flood(t, to)
	for range 10 {
		for _, follow := range []bool{false, true} {
			// Rotation may have taken away what there was.
			assert.NotContains(t, texts(t, dir, ReadOptions{Follow: follow, Until: until}), "y")
		}
	}
	stop()
	end()
}

func TestAFollowerEndsAtUntilAlthoughTheTaskIsSilent(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "log")
		_, to, end := piped(t, Config{Dir: dir, Terminal: terminal})
		_, err := to.WriteString("line\n")
		require.NoError(t, err)
		assert.Equal(t, []string{"line"}, texts(t, dir, ReadOptions{Follow: true, Until: time.Now().Add(time.Second / 10)}))
		passed := make(chan time.Time, 1)
		passed <- time.Now()
		assert.Equal(t, []string{"line"}, texts(t, dir, ReadOptions{Follow: true, Until: time.Now().Add(time.Hour), Passed: passed}))
		end()
	}
}

func TestTimesNeedNotBeInOrder(t *testing.T) {
	dir := logOf(t, []string{"5 stdout F a", "9 stdout F b", "6 stdout F c"}, []string{"3 stdout F d", "7 stdout F e"})
	assert.Equal(t, []string{"a", "c", "d"}, texts(t, dir, ReadOptions{Until: second(6)}))
	assert.Equal(t, []string{"a", "b", "c", "e"}, texts(t, dir, ReadOptions{Since: second(5)}))
	assert.Equal(t, []string{"c", "d"}, texts(t, dir, ReadOptions{Until: second(6), Tail: 2}))
}

func TestAReaderIsToldOfFilesThatWereRemoved(t *testing.T) {
	one, three := []string{"1 stdout F one"}, []string{"3 stdout F three"}
	for name, c := range map[string]struct {
		opts   ReadOptions
		change func(dir string) error
		want   []string
	}{
		"between": {ReadOptions{}, func(dir string) error { return os.Remove(fileName(dir, 2)) }, []string{"one", "lost", "three"}},
		"all":     {ReadOptions{}, os.RemoveAll, []string{"one", "lost"}},
		"unwanted": {ReadOptions{Until: second(0)}, func(dir string) error {
			return os.Remove(fileName(dir, 2))
		}, nil},
		"the end": {ReadOptions{}, func(dir string) error {
			addFile(t, dir, 4, []string{"4 stdout F four"})
			addFile(t, dir, 5, []string{"5 stdout F five"})
			for n := range 4 {
				if err := ignoreAbsent(os.Remove(fileName(dir, n+1))); err != nil {
					return err
				}
			}
			return nil
		}, []string{"one", "lost"}},
	} {
		dir := logOf(t, one, []string{"2 stdout F two"}, three)
		l, err := Open(t.Context(), dir, c.opts)
		require.NoError(t, err)
		require.NoError(t, c.change(dir))
		var got []string
		for e, err := range l.All(t.Context()) {
			require.NoError(t, err)
			got = append(got, text(e))
		}
		assert.Equal(t, c.want, got, name)
	}
}

func TestASlowFollowerIsToldWhatRotationTookAway(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	_, to, end := piped(t, Config{Dir: dir, MaxSize: 200, MaxFiles: 2})
	l, err := Open(t.Context(), dir, ReadOptions{Follow: true, Tail: -1, Ended: closed})
	require.NoError(t, err)
	for i := range 100 {
		_, err := fmt.Fprintf(to, "line %d\n", i)
		require.NoError(t, err)
	}
	_, err = ask(t.Context(), dir)
	require.NoError(t, err)
	var got []string
	for e, err := range l.All(t.Context()) {
		require.NoError(t, err)
		got = append(got, text(e))
	}
	assert.Contains(t, got, "lost")
	assert.Equal(t, "line 99", got[len(got)-1])
	end()
}

func TestALogThatSomebodyCuts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	_, to, end := piped(t, Config{Dir: dir})
	_, err := to.WriteString("a long line before\n")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var got []string
	for e, err := range entries(ctx, dir, ReadOptions{Follow: true}) {
		require.NoError(t, err)
		if got = append(got, text(e)); len(got) == 1 {
			require.NoError(t, os.Truncate(fileName(dir, 1), 0))
			_, err := to.WriteString("after\n")
			require.NoError(t, err)
		} else if text(e) == "after" {
			break
		}
	}
	assert.Equal(t, []string{"a long line before", "lost", "after"}, got)
	assert.Equal(t, []string{"after"}, texts(t, dir, ReadOptions{}))
	end()
}

func TestARecordThatTheLoggerTakesBackIsNotRead(t *testing.T) {
	// Given a follower that has seen the begin of a record,
	dir := logOf(t, []string{"1 stdout F one"})
	name := fileName(dir, 1)
	info, err := os.Stat(name)
	require.NoError(t, err)
	var got []string
	r := &reader{dir: dir, deliver: func(e Entry) error { got = append(got, text(e)); return nil }}
	require.NoError(t, r.open(position{number: 1}))
	add := func(text string) {
		f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteString(text)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	drain := func() {
		for more := true; more; {
			more, err = r.step()
			require.NoError(t, err)
		}
	}
	add(stamp(second(2)) + " stdout F tw")
	drain()

	// when the logger takes it back and writes another one,
	require.NoError(t, os.Truncate(name, info.Size()))
	add(string(appendRecord(nil, stamp(second(3)), Stdout, tagFull, []byte("three, and much more"))))
	drain()

	assert.Equal(t, []string{"one", "three, and much more"}, got)
	require.NoError(t, r.close())
}

func TestKeptEntriesCostWhatTheyAre(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	_, to, end := piped(t, Config{Dir: dir})
	l, err := Open(t.Context(), dir, ReadOptions{Follow: true, Tail: -1, Ended: nil})
	require.NoError(t, err)
	heap := func() uint64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	before := heap()
	var kept []Entry
	_, err = to.WriteString("line\n")
	require.NoError(t, err)
	for e, err := range l.All(t.Context()) {
		require.NoError(t, err)
		if kept = append(kept, e); len(kept) == 2000 {
			break
		}
		_, err = to.WriteString("line\n")
		require.NoError(t, err)
	}
	assert.Less(t, heap(), before+(2<<20))
	for _, e := range kept {
		assert.Equal(t, "line\n", string(e.Data))
	}
	end()
}

func TestLongRecords(t *testing.T) {
	long := strings.Repeat("x", 3*readSize)
	dir := logOf(t, []string{"1 stdout F one"})
	f, err := os.OpenFile(fileName(dir, 1), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.Write(appendRecord(nil, stamp(second(2)), Stdout, tagFull, []byte(long)))
	require.NoError(t, err)
	require.NoError(t, f.Close())
	assert.Equal(t, []string{"one", long}, texts(t, dir, ReadOptions{}))
	assert.Equal(t, []string{long}, texts(t, dir, ReadOptions{Tail: 1}))
}
