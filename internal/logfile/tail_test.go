package logfile

import (
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTailGivesWholeLines(t *testing.T) {
	for name, c := range map[string]struct {
		files [][]string
		only  Stream
		want  map[int][]string
	}{
		"a line in two files": {
			files: [][]string{{"1 stdout F A", "2 stdout P begin-"}, {"3 stdout F end", "4 stdout F B"}},
			want:  map[int][]string{1: {"B"}, 2: {"begin-", "end", "B"}, 3: {"A", "begin-", "end", "B"}, 4: {"A", "begin-", "end", "B"}},
		},
		"a line in three files": {
			files: [][]string{{"1 stdout F A", "2 stdout P x"}, {"3 stdout P y"}, {"4 stdout F z"}},
			want:  map[int][]string{1: {"x", "y", "z"}, 2: {"A", "x", "y", "z"}},
		},
		"another stream in between": {
			files: [][]string{{"1 stdout P x"}, {"2 stderr F e"}, {"3 stdout F z"}},
			want:  map[int][]string{1: {"x", "z"}, 2: {"x", "e", "z"}},
		},
		"two streams in turn": {
			files: [][]string{{"1 stdout P hel", "2 stderr F err1", "3 stdout F lo"}},
			want:  map[int][]string{1: {"hel", "lo"}, 2: {"hel", "err1", "lo"}},
		},
		"lines without an end": {
			files: [][]string{{"1 stdout P no"}, {"2 stderr F e", "3 stderr P none"}},
			want:  map[int][]string{1: {"none"}, 2: {"e", "none"}, 3: {"no", "e", "none"}},
		},
		"one stream": {
			files: [][]string{{"1 stderr F e1", "2 stdout F a"}, {"3 stdout F b", "4 stderr F e2", "5 stdout F c"}},
			only:  Stderr,
			want:  map[int][]string{1: {"e2"}, 2: {"e1", "e2"}, math.MaxInt: {"e1", "e2"}},
		},
		"what was lost is no line": {
			files: [][]string{{"1 lost F 1", "2 stdout F a", "3 lost F 2", "4 stdout F b"}},
			want:  map[int][]string{1: {"b"}, 2: {"a", "lost2\n", "b"}, 3: {"lost1\n", "a", "lost2\n", "b"}},
		},
		"nothing": {files: [][]string{{}}, want: map[int][]string{1: nil}},
	} {
		dir := logOf(t, c.files...)
		for n, want := range c.want {
			assert.Equal(t, want, texts(t, dir, ReadOptions{Tail: n, Only: c.only}), "%s, %d lines", name, n)
		}
	}
}

func TestTailOfManyLines(t *testing.T) {
	var records []string
	for range 5000 {
		records = append(records, "1 stdout F x")
	}
	dir := logOf(t, records, records)
	for _, n := range []int{1, 3000, 7000} {
		assert.Len(t, texts(t, dir, ReadOptions{Tail: n}), n)
	}
}

func TestTailOfALogThatRotatesMeanwhile(t *testing.T) {
	dir := logOf(t, []string{"1 stdout F a", "2 stdout F b"}, []string{"3 stdout F c", "4 stdout F d"})
	l, err := Open(t.Context(), dir, ReadOptions{Tail: 3})
	require.NoError(t, err)
	addFile(t, dir, 3, []string{"5 stdout F e"})
	require.NoError(t, os.Remove(fileName(dir, 1)))
	var got []string
	for e, err := range l.All(t.Context()) {
		require.NoError(t, err)
		got = append(got, text(e))
	}
	assert.Equal(t, []string{"b", "c", "d"}, got)
}
