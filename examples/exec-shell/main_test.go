package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/console"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdtest"
)

// programEnv makes this test binary the program.
const programEnv = "EXEC_SHELL_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programEnv) != "" {
		main()
	}
	os.Exit(m.Run())
}

// screen is a pseudo terminal with the program on its other side, and what the
// program has shown.
type screen struct {
	t       *testing.T
	console console.Console
	cmd     *exec.Cmd

	mu      sync.Mutex
	shown   bytes.Buffer
	changed chan struct{}
	closed  chan struct{}
}

// startOn runs the program on a new terminal.
func startOn(t *testing.T, address string, args ...string) *screen {
	t.Helper()
	master, name, err := console.NewPty()
	require.NoError(t, err)
	require.NoError(t, master.Resize(console.WinSize{Width: 80, Height: 24}))
	tty, err := os.OpenFile(name, os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	s := &screen{t: t, console: master, changed: make(chan struct{}, 1), closed: make(chan struct{})}
	s.cmd = exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	s.cmd.Env = append(os.Environ(), programEnv+"=yes", "CONTAINERD_ADDRESS="+address, "TERM=vt100")
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = tty, tty, tty
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, s.cmd.Start())
	require.NoError(t, tty.Close())
	go s.read()
	t.Cleanup(func() {
		<-s.closed
		assert.NoError(t, master.Close())
	})
	return s
}

func (s *screen) read() {
	defer close(s.closed)
	buffer := make([]byte, 4096)
	for {
		n, err := s.console.Read(buffer)
		s.mu.Lock()
		s.shown.Write(buffer[:n])
		s.mu.Unlock()
		select {
		case s.changed <- struct{}{}:
		default:
		}
		if err != nil {
			return // the program has ended
		}
	}
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shown.String()
}

// until waits until the screen shows text.
func (s *screen) until(text string) {
	s.t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for !strings.Contains(s.text(), text) {
		select {
		case <-s.changed:
		case <-s.closed:
			require.Contains(s.t, s.text(), text, "the program has ended")
			return
		case <-limit.C:
			require.Contains(s.t, s.text(), text, "a minute has passed")
		}
	}
}

func (s *screen) enter(text string) {
	s.t.Helper()
	_, err := io.WriteString(s.console, text)
	require.NoError(s.t, err)
}

func TestAShellOnATerminal(t *testing.T) {
	daemon := containerdtest.NewDaemon(t)
	daemon.AddImage("app", containerdtest.Image{})
	ctx := t.Context()
	_, err := daemon.CreateContainer(ctx, containerd.CreateContainerRequest{ID: "web", ImageRef: "app"})
	require.NoError(t, err)
	_, err = daemon.StartTask(ctx, "web", nil)
	require.NoError(t, err)

	s := startOn(t, daemon.Address(), "web")
	s.until("$ ") // the shell's prompt
	s.enter("echo $TERM-$((40+2)); tty\n")
	s.until("vt100-42")
	s.until("terminal")

	s.enter("sigtrap WINCH 5; echo code $?\n")
	s.until("ready")
	require.NoError(t, s.console.Resize(console.WinSize{Width: 132, Height: 43}))
	s.until("SIGWINCH")
	s.until("code 5")

	require.NoError(t, s.console.Resize(console.WinSize{})) // no size is no reason to end
	s.enter("echo still-$((40+2))\n")
	s.until("still-42")

	s.enter("exit 7\n")
	var exit *exec.ExitError
	require.ErrorAs(t, s.cmd.Wait(), &exit)
	assert.Equal(t, 7, exit.ExitCode(), "%s", s.text())
	require.NoError(t, daemon.DeleteTask(ctx, "web", &containerd.DeleteTaskOptions{Force: true}))
}

// The shell must not go on when nobody can type into it any more.
func TestASignalEndsTheShellInTheContainer(t *testing.T) {
	daemon := containerdtest.NewDaemon(t)
	daemon.AddImage("app", containerdtest.Image{})
	ctx := t.Context()
	_, err := daemon.CreateContainer(ctx, containerd.CreateContainerRequest{ID: "web", ImageRef: "app"})
	require.NoError(t, err)
	_, err = daemon.StartTask(ctx, "web", nil)
	require.NoError(t, err)
	for _, sig := range []os.Signal{syscall.SIGHUP, syscall.SIGTERM} {
		s := startOn(t, daemon.Address(), "web")
		s.until("$ ")
		require.NoError(t, s.cmd.Process.Signal(sig))
		var exit *exec.ExitError
		require.ErrorAs(t, s.cmd.Wait(), &exit)
		assert.Equal(t, 1, exit.ExitCode(), "%v: %s", sig, s.text())
		left, err := daemon.ListProcesses(ctx, "web", nil)
		require.NoError(t, err)
		assert.Len(t, left, 1, "%v: only the container's own process", sig)
	}
	require.NoError(t, daemon.DeleteTask(ctx, "web", &containerd.DeleteTaskOptions{Force: true}))
}

func TestErrorsAreShown(t *testing.T) {
	daemon := containerdtest.NewDaemon(t)
	s := startOn(t, daemon.Address(), "no-such-container")
	s.until("no-such-container")
	var exit *exec.ExitError
	require.ErrorAs(t, s.cmd.Wait(), &exit)
	assert.Equal(t, 1, exit.ExitCode())

	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "web")
	cmd.Env = append(os.Environ(), programEnv+"=yes")
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	assert.Contains(t, string(out), "stdin", "it needs a terminal")
}
