package quote_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/ctrdkit/containerd/internal/quote"
)

func TestValue(t *testing.T) {
	assert.Equal(t, `""`, quote.Value(""))
	assert.Equal(t, `"a\x00\n\"b"`, quote.Value("a\x00\n\"b"))
	assert.Equal(t, `"`+strings.Repeat("x", 128)+`"`, quote.Value(strings.Repeat("x", 128)))
	assert.Equal(t, `"`+strings.Repeat("x", 128)+`"... (1000000 bytes)`, quote.Value(strings.Repeat("x", 1000000)))
}
