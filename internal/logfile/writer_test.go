package logfile

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// logMore has a further logger of the same log write text.
func logMore(t *testing.T, config Config, text string) {
	t.Helper()
	w, err := Create(config)
	require.NoError(t, err)
	require.NoError(t, feed(w, Stdout, strings.NewReader(text)))
	require.NoError(t, w.Close())
}

func listed(t *testing.T, dir string) []int {
	t.Helper()
	list, err := numbers(dir)
	require.NoError(t, err)
	return list
}

func TestARestartGoesOnInTheLastFile(t *testing.T) {
	config := Config{Dir: filepath.Join(t.TempDir(), "log")}
	logMore(t, config, "only line\n")
	for range 10 {
		logMore(t, config, "") // a start that fails
	}
	logMore(t, config, "another\n")
	assert.Equal(t, []string{`stdout "only line\n"`, `stdout "another\n"`}, read(t, config.Dir, ReadOptions{}))
	assert.Equal(t, []int{1}, listed(t, config.Dir))
}

func TestARestartRotatesAFullFile(t *testing.T) {
	config := Config{Dir: filepath.Join(t.TempDir(), "log"), MaxSize: 60, MaxFiles: 2}
	for range 3 {
		logMore(t, config, strings.Repeat("x", 80))
	}
	assert.Equal(t, []int{2, 3}, listed(t, config.Dir))
}

func TestARestartEndsARecordThatACrashCut(t *testing.T) {
	config := Config{Dir: filepath.Join(t.TempDir(), "log")}
	logMore(t, config, "first\nsecond\n")
	info, err := os.Stat(fileName(config.Dir, 1))
	require.NoError(t, err)
	require.NoError(t, os.Truncate(fileName(config.Dir, 1), info.Size()-4))
	logMore(t, config, "third\n")
	assert.Equal(t, []string{`stdout "first\n"`, `stdout "sec\n"`, `stdout "third\n"`}, read(t, config.Dir, ReadOptions{}))
}

func TestTwoLoggersOfALogHaveAFileEach(t *testing.T) {
	config := Config{Dir: filepath.Join(t.TempDir(), "log")}
	ending, err := Create(config)
	require.NoError(t, err)
	logMore(t, config, "new\n")
	require.NoError(t, feed(ending, Stdout, strings.NewReader("old\n")))
	require.NoError(t, ending.Close())
	assert.Equal(t, []string{`stdout "old\n"`, `stdout "new\n"`}, read(t, config.Dir, ReadOptions{}))
	assert.Equal(t, []int{1, 2}, listed(t, config.Dir))
}

func TestALogIsNotWrittenThroughALink(t *testing.T) {
	config := Config{Dir: filepath.Join(t.TempDir(), "log")}
	logMore(t, config, "")
	victim := filepath.Join(t.TempDir(), "victim")
	require.NoError(t, os.WriteFile(victim, nil, 0o600))
	require.NoError(t, os.Remove(fileName(config.Dir, 1)))
	require.NoError(t, os.Symlink(victim, fileName(config.Dir, 2)))
	logMore(t, config, "text\n")
	text, err := os.ReadFile(victim)
	require.NoError(t, err)
	assert.Empty(t, text)
}

func TestAFailedRotationIsTriedAgain(t *testing.T) {
	// Given a log whose next file can't be begun, and whose last one can't be closed,
	dir := filepath.Join(t.TempDir(), "log")
	w, err := Create(Config{Dir: dir, MaxSize: 100})
	require.NoError(t, err)
	require.NoError(t, feed(w, Stdout, strings.NewReader(strings.Repeat("a", 60)+"\n")))
	require.NoError(t, w.file.Close())
	away := dir + "-away"
	require.NoError(t, os.Rename(dir, away))
	require.NoError(t, feed(w, Stdout, strings.NewReader(strings.Repeat("b", 60)+"\n")))
	// when it can be,
	require.NoError(t, os.Rename(away, dir))
	require.NoError(t, feed(w, Stdout, strings.NewReader("after\n")))
	require.NoError(t, w.Close())
	// then the log goes on.
	got := read(t, dir, ReadOptions{})
	require.Len(t, got, 3)
	assert.Equal(t, []string{`lost "61\n"`, `stdout "after\n"`}, got[1:])
}

func TestAFileThatFailsIsFollowedByAnother(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	w, err := Create(Config{Dir: dir})
	require.NoError(t, err)
	require.NoError(t, feed(w, Stdout, strings.NewReader("before\n")))
	require.NoError(t, w.file.Close())
	require.NoError(t, feed(w, Stdout, strings.NewReader("after\n")))
	require.NoError(t, w.Close())
	assert.Equal(t, []string{`stdout "before\n"`, `stdout "after\n"`}, read(t, dir, ReadOptions{}))
}

func TestOnlyWhatWasNotWrittenCountsAsLost(t *testing.T) {
	// Given a log whose file has room for the first of three records, and no next one,
	dir := filepath.Join(t.TempDir(), "log")
	record := func(text string) []byte { return split(nil, stamp(time.Now()), Stdout, []byte(text)) }
	w, err := Create(Config{Dir: dir, MaxSize: int64(len(record("1234\n")))})
	require.NoError(t, err)
	require.NoError(t, os.Rename(dir, dir+"-away"))
	// when they are written at once, and later more,
	w.write(slices.Concat(record("1234\n"), record("5678\n"), record("no end")), len("1234\n5678\nno end"))
	require.NoError(t, os.Rename(dir+"-away", dir))
	w.write(record("x\n"), 2)
	require.NoError(t, w.Close())
	// then the two others are what is lost.
	assert.Equal(t, []string{`stdout "1234\n"`, `lost "11\n"`, `stdout "x\n"`}, read(t, dir, ReadOptions{}))
}

// A record that is cut, and stays so, must not take the next one with it.
func TestACutRecordTakesNoOtherWithIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	w, err := Create(Config{Dir: dir})
	require.NoError(t, err)
	_, err = w.file.WriteString(stamp(time.Now()) + " stdout F cu")
	require.NoError(t, err)
	w.cut = true // as when it can't be truncated
	require.NoError(t, feed(w, Stdout, strings.NewReader("next\n")))
	require.NoError(t, w.Close())
	assert.Equal(t, []string{`stdout "cu\n"`, `stdout "next\n"`}, read(t, dir, ReadOptions{}))
}

func TestAWriteThatFailsHalfwayHasWrittenWholeRecords(t *testing.T) {
	// Given a pipe that takes a part of what is written, then no more,
	r, f, err := os.Pipe()
	require.NoError(t, err)
	defer func() { require.NoError(t, errors.Join(r.Close(), f.Close())) }()
	go func() {
		if _, err := r.Read(make([]byte, 1)); assert.NoError(t, err) {
			assert.NoError(t, f.SetWriteDeadline(time.Unix(1, 0)))
		}
	}()
	w := &Writer{file: f}
	record := split(nil, stamp(time.Now()), Stdout, []byte(strings.Repeat("x", 100)+"\n"))
	records := []byte(strings.Repeat(string(record), 1000))
	n, err := w.append(records)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	assert.Positive(t, n)
	assert.Zero(t, n%len(record), "whole records")
	assert.True(t, w.cut, "a pipe can't be truncated")
	assert.Equal(t, int64(len(records)/len(record)-n/len(record))*101, payload(records[n:]))
}
