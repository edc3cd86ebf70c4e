package filter_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/pkg/filters"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/internal/filter"
)

func FuzzLabelEquals(f *testing.F) {
	for _, value := range values[:len(values)-1] {
		f.Add("a.b/c", value, value+"x")
		f.Add(value, "x", "y")
	}
	f.Fuzz(func(t *testing.T, key, value, other string) {
		parsed := parse(t, filter.LabelEquals(key, value))
		assert.True(t, parsed.Match(object("", map[string]string{key: value})))
		assert.Equal(t, value == other, parsed.Match(object("", map[string]string{key: other})))
		assert.Equal(t, key == other, parsed.Match(object("", map[string]string{other: value})))
		assert.False(t, parsed.Match(object("", nil)))

		present := parse(t, filter.LabelPresent(key))
		assert.True(t, present.Match(object("", map[string]string{key: other})))
		assert.Equal(t, key == other, present.Match(object("", map[string]string{other: value})))
	})
}

// FuzzParseTask checks against containerd's own parser and matcher, which logs
// the regular expressions that do not compile. Escaped surrogates are left out: its
// unquoting replaces them, and ParseTask refuses them.
func FuzzParseTask(f *testing.F) {
	for _, s := range []string{
		"", "id", "id==web-1", `container."id"!="x,y"`, "status==RUNNING,exit_status!=0", "id~=^web", `id~=/a\/b/`, `id~=|"(|`,
		"id~=(", "image==x", "id==", `id~="\x5b"`, "pid~=[", "id==a~=(,pid~=\\(", "id == web", `id~=/[/,status~=|\||`,
	} {
		f.Add(s)
	}
	var logged bytes.Buffer
	output := log.L.Logger.Out
	log.L.Logger.SetOutput(&logged)
	f.Cleanup(func() { log.L.Logger.SetOutput(output) })

	f.Fuzz(func(t *testing.T, s string) {
		_, err := filter.ParseTask(s)
		theirs, theirErr := filters.Parse(s)
		if err != nil {
			require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
		}
		if theirErr != nil {
			require.Error(t, err)
			return
		}
		logged.Reset()
		matchAll(theirs)
		invalidRegexp := logged.Len() > 0
		if err == nil {
			assert.False(t, invalidRegexp, "accepts an invalid regular expression")
		} else if !strings.Contains(err.Error(), ": unknown field ") && !strings.Contains(strings.ToLower(s), `\u`) {
			assert.True(t, invalidRegexp, "refuses a valid regular expression: %v", err)
		}
	})
}

// matchAll runs every selector of a filter, whatever the others say.
func matchAll(f filters.Filter) {
	selectors, ok := f.(filters.All)
	if !ok {
		return
	}
	for _, selector := range selectors {
		selector.Match(filter.Task{})
	}
}
