package applets_test

import (
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestShellWithoutStdin(t *testing.T) {
	m := newMachine(t)
	assert.Equal(t, result{code: 7}, m.run(t, nil, "sh", "-c", "cat; exit 7"))
	assert.Equal(t, result{code: 1}, m.run(t, nil, "sh", "-c", "read x"))
	assert.Equal(t, result{}, m.run(t, nil, "sh"))
	assert.Equal(t, result{stdout: "0\n"}, m.run(t, nil, "wc", "-c"))
}

// refusal is an input that nobody may read.
type refusal struct{ t *testing.T }

func (r refusal) Read([]byte) (int, error) {
	r.t.Error("the input was read")
	return 0, errors.New("refused")
}

func TestShellLeavesItsInputAlone(t *testing.T) {
	m := newMachine(t)
	assert.Equal(t, result{stdout: "x\n2\n"}, m.run(t, refusal{t}, "sh", "-c", "echo x; sh -c 'exit 2'; echo $?"))
}

func TestTerminal(t *testing.T) {
	p := begin(t, newMachine(t), true, "sh")
	enter := func(line string) {
		_, err := io.WriteString(p.stdin, line+"\n")
		require.NoError(t, err)
	}
	prompt := func() {
		text := make([]byte, 2)
		_, err := io.ReadFull(p.stdout, text)
		require.NoError(t, err)
		assert.Equal(t, "$ ", string(text))
	}
	prompt()
	enter("a=b; tty; echo x | tty")
	assert.Equal(t, "terminal", p.line(t))
	assert.Equal(t, "not a tty", p.line(t))
	prompt()
	enter("read c")
	enter("answer")
	prompt()
	enter("echo $a $c")
	assert.Equal(t, "b answer", p.line(t))
	prompt()
	enter("exit 3")
	assert.Equal(t, 3, p.exit())
}
