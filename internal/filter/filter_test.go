package filter_test

import (
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/pkg/filters"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/internal/filter"
)

// values are what quoting can get wrong.
var values = []string{
	"x", "x y", "", `"`, `\`, `\"`, `\\`, "/", "|", "'", "`", "a/b|c", "a,b", "a==b", ",labels.x", "\n", "\r\n\t", "\x00", "\x7f",
	"é", "日本", "\U0001F600", "\uFFFD", "\u2028", "\xff", "a\xc3", "\xed\xa0\x80", `\xff`, `\u00e9`, "%s", "*", ".*", strings.Repeat("x", 4096),
}

// object has labels and a name, as containerd's own adaptors present them.
func object(name string, labels map[string]string) filters.Adaptor {
	return filters.AdapterFunc(func(path []string) (string, bool) {
		switch path[0] {
		case "name":
			return name, name != ""
		case "labels":
			value, ok := labels[strings.Join(path[1:], ".")]
			return value, ok
		}
		return "", false
	})
}

func parse(t *testing.T, list ...string) filters.Filter {
	t.Helper()
	f, err := filters.ParseAll(list...)
	require.NoError(t, err)
	return f
}

func TestLabelEquals(t *testing.T) {
	keys := append([]string{"a.b/c", "io.example/x.y-z", "a b", ".", "labels"}, values...)
	for _, key := range keys {
		for _, value := range values {
			f := parse(t, filter.LabelEquals(key, value))
			assert.True(t, f.Match(object("", map[string]string{key: value})), "%q=%q", key, value)
			assert.False(t, f.Match(object("", map[string]string{key: value + "x"})), "%q=%q", key, value)
			assert.False(t, f.Match(object("", map[string]string{key + "x": value})), "%q=%q", key, value)
			assert.False(t, f.Match(object("", nil)), "%q=%q", key, value)
		}
	}
	assert.Equal(t, `labels."a.b/c"=="x y"`, filter.LabelEquals("a.b/c", "x y"))
}

func TestLabelPresent(t *testing.T) {
	for _, key := range values {
		f := parse(t, filter.LabelPresent(key))
		assert.True(t, f.Match(object("", map[string]string{key: "anything"})), "%q", key)
		assert.False(t, f.Match(object("", map[string]string{key + "x": "anything"})), "%q", key)
		assert.False(t, f.Match(object("", nil)), "%q", key)
	}
	assert.Equal(t, `labels."a.b/c"`, filter.LabelPresent("a.b/c"))
}

func TestNameIn(t *testing.T) {
	t.Run("any of the names", func(t *testing.T) {
		f := parse(t, filter.NameIn("nginx", "docker.io/library/nginx:latest")...)
		assert.True(t, f.Match(object("nginx", nil)))
		assert.True(t, f.Match(object("docker.io/library/nginx:latest", nil)))
		assert.False(t, f.Match(object("evil.test/library/nginx:latest", nil)))
		assert.False(t, f.Match(object("", nil)))
	})
	t.Run("exactly", func(t *testing.T) {
		for _, name := range values {
			f := parse(t, filter.NameIn(name)...)
			assert.Equal(t, name != "", f.Match(object(name, nil)), "%q", name)
			assert.False(t, f.Match(object(name+"x", nil)), "%q", name)
		}
	})
	t.Run("no names match nothing", func(t *testing.T) {
		f := parse(t, filter.NameIn()...)
		assert.False(t, f.Match(object("nginx", nil)))
		assert.False(t, f.Match(object("", nil)))
	})
}
