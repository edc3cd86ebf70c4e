package containerdtest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/internal/applets/appletstest"
)

// withoutHome runs the line $0 with its arguments, as the lines expect it: in an
// empty directory, and without the HOME that every container has.
func withoutHome(line appletstest.Line) []string {
	return slices.Concat([]string{"sh", "-c", `unset HOME; line=$1; shift; exec sh -c "$line" sh "$@"`, "sh", line.Line}, line.Args)
}

func TestShellLinesDoOnTheFakeWhatTheyDoOnAMachine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.start("web", "pause")
	for i, line := range appletstest.Lines() {
		dir := fmt.Sprint("/lines/", i)
		_, _, code := w.sh(task, "mkdir -p "+dir)
		require.Equal(t, 0, code)
		spec := w.process(task, withoutHome(line)...)
		spec.Cwd, spec.Env = dir, append(spec.Env, "COLOR=red")

		r := w.execAs(task, fmt.Sprint("e", i), spec)
		r.write(line.Stdin)
		r.endInput()
		assert.Equal(t, line.Code, r.code(), line.Name)
		assert.Equal(t, line.Stdout, r.out.String(), line.Name)
		assert.Equal(t, line.Stderr, strings.TrimSuffix(r.errs.String(), "\x00"), line.Name)
	}
}
