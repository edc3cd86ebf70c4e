package applets_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/ctrdkit/containerd/internal/applets/appletstest"
)

func TestLines(t *testing.T) {
	for _, line := range appletstest.Lines() {
		t.Run(line.Name, func(t *testing.T) {
			var stdin buffer
			stdin.buf.WriteString(line.Stdin)
			args := append([]string{"sh", "-c", line.Line, "sh"}, line.Args...)
			got := newMachine(t).run(t, &stdin, args...)
			assert.Equal(t, result{line.Stdout, line.Stderr, line.Code}, got, strings.TrimSpace(line.Line))
		})
	}
}
