package applets_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/internal/applets"
)

func TestNames(t *testing.T) {
	names := applets.Names()
	assert.True(t, slices.IsSorted(names))
	assert.Contains(t, names, "sh")
}

func TestRunFindsAppletsByBaseName(t *testing.T) {
	m := newMachine(t)
	assert.Equal(t, result{stdout: "x\n"}, m.run(t, nil, "/usr/bin/echo", "x"))
	assert.Equal(t, result{stderr: "ech: no such command\n", code: 127}, m.run(t, nil, "/usr/bin/ech", "x"))
	assert.Equal(t, result{stderr: ": no such command\n", code: 127}, m.run(t, nil))
}

func TestIdentityIsTheSystems(t *testing.T) {
	t.Setenv("HOME", "/the/host")
	for _, c := range []struct{ line, stdout string }{
		{"id; id -u; id -g; id -G", "uid=123 gid=456 groups=456 789\n123\n456\n456 789\n"},
		{"hostname; exec pwd", "machine\n/work\n"},
		{"env", "COLOR=red\nPATH=/bin\n"},
		{`echo $$ $UID $EUID $GID "<$HOME>"; echo $(($$+1))`, "1 123 123 456 <>\n2\n"},
		{`(echo $$) & wait; echo $$ | cat; f() { echo $$; }; f`, "1\n1\n1\n"},
	} {
		assert.Equal(t, result{stdout: c.stdout}, newMachine(t).run(t, nil, "sh", "-c", c.line), c.line)
	}
}

// started is a process that a test talks to.
type started struct {
	*process
	stdin  *io.PipeWriter
	stdout *bufio.Reader
	stderr *buffer
}

// begin starts a process with pipes, which the test's end closes.
func begin(t *testing.T, m *machine, terminal bool, args ...string) started {
	t.Helper()
	inRead, inWrite := io.Pipe()
	outRead, outWrite := io.Pipe()
	var stderr buffer
	p := m.start(&applets.Command{
		Args: args, Env: []string{"PATH=/bin"}, Dir: "/work", Stdin: inRead, Stdout: outWrite, Stderr: &stderr,
	}, terminal)
	t.Cleanup(func() { assert.NoError(t, errors.Join(inWrite.Close(), outRead.Close())) })
	context.AfterFunc(m.ctx, func() { inWrite.Close() })
	return started{p, inWrite, bufio.NewReader(outRead), &stderr}
}

// line returns the next line of the process's output.
func (s started) line(t *testing.T) string {
	t.Helper()
	line, err := s.stdout.ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSuffix(line, "\n")
}

func (s started) exit() int {
	<-s.done
	return s.code
}

func TestSigtrap(t *testing.T) {
	p := begin(t, newMachine(t), false, "sigtrap", "USR1", "7")
	assert.Equal(t, "ready", p.line(t))
	p.signal(syscall.SIGUSR1)
	assert.Equal(t, "SIGUSR1", p.line(t))
	assert.Equal(t, 7, p.exit())

	p = begin(t, newMachine(t), false, "sigtrap", "SIGTERM", "ignore")
	assert.Equal(t, "ready", p.line(t))
	for range 2 {
		p.signal(syscall.SIGTERM)
		assert.Equal(t, "SIGTERM", p.line(t))
	}
	p.signal(syscall.SIGKILL)
	assert.Equal(t, 137, p.exit())
}

func TestPause(t *testing.T) {
	m := newMachine(t)
	p := begin(t, m, false, "pause")
	<-p.trapping
	assert.Zero(t, m.run(t, nil, "kill", "1").code)
	assert.Zero(t, p.exit())
}

func TestCanceledContextKills(t *testing.T) {
	for _, args := range [][]string{
		{"sleep", "300"},
		{"sleep", "infinity"},
		{"sleep", "1e12"},
		{"sleep", "100000d", "inf"},
		{"tail", "-f", "/bin/userland"},
		{"pause"},
		{"sigtrap", "TERM", "0"},
		{"sh", "-c", "echo ready; sleep 300"},
		{"sh", "-c", "echo ready; sleep 300 & wait"},
		{"sh", "-c", "echo ready; sleep 300 | sleep 300"},
		{"sh", "-c", "echo ready; while true; do true; done"},
		{"sh", "-c", "echo ready; while true; do echo x; done | sleep 300"},
		{"sh", "-c", "echo ready; read x"},
	} {
		p := begin(t, newMachine(t), false, "sleep", "300") // lends its streams
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan int)
		go func() { done <- applets.Run(ctx, p, args) }()
		if args[0] == "sh" || args[0] == "sigtrap" {
			assert.Equal(t, "ready", p.line(t))
		}
		cancel()
		assert.Equal(t, 137, <-done, args)
		assert.Empty(t, p.stderr.String())
	}
}

func TestChildrenOutliveTheirParent(t *testing.T) {
	for _, line := range []string{"hold 300; exit 7", "sigtrap TERM 0 & read x; exit 7"} {
		m := newMachine(t)
		p := begin(t, m, false, "sh", "-c", line)
		if strings.Contains(line, "sigtrap") {
			assert.Equal(t, "ready", p.line(t))
			_, err := io.WriteString(p.stdin, "\n")
			require.NoError(t, err)
		}
		assert.Equal(t, 7, p.exit())
		m.mu.Lock()
		assert.Len(t, m.procs, 1, line)
		m.mu.Unlock()
	}
}

func TestProcessWithoutReaderEnds(t *testing.T) {
	for _, args := range [][]string{
		{"zeros", "1000000"},
		{"echo", "x"},
		{"sh", "-c", "echo x"},
		{"sh", "-c", "while true; do echo x; done"},
		{"sh", "-c", "while true; do (echo x) & wait; done"},
	} {
		m := newMachine(t)
		r, w := io.Pipe()
		require.NoError(t, r.Close())
		var stderr buffer
		p := m.start(&applets.Command{Args: args, Dir: "/work", Stdout: w, Stderr: &stderr}, false)
		<-p.done
		assert.Equal(t, 141, p.code, args)
		assert.Empty(t, stderr.String())
	}
}
