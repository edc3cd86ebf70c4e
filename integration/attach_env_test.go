package integration_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/internal/logfile"
)

// launchElsewhere has another process launch a logged task that runs a script,
// or a shell, and attach to it with something typed. It returns when that
// process has seen the echo of that, or any output where nothing is typed. The
// container has the directory host at /host.
func (w *world) launchElsewhere(terminal bool, host, script, typed string) (helperCall, *helper) {
	w.Helper()
	call := w.call("launch and attach")
	call.Terminal, call.Args, call.FIFODir = terminal, []string{typed}, filepath.Join(w.TempDir(), "log")
	args := []string{"sh"}
	if script != "" {
		args = append(args, "-c", script)
	}
	req := w.request(args...)
	req.ID = call.ID
	req.SpecOpts = append(req.SpecOpts, oci.WithMounts([]specs.Mount{{
		Type: "bind", Source: host, Destination: "/host", Options: []string{"rbind", "ro"},
	}}))
	_, err := w.Service.CreateContainer(w.ctx, req)
	require.NoError(w, err)
	client := startHelper(w.T, call)
	require.True(w, client.report(w.T).Held, "the task has written")
	noteContainer(w.task(call.ID).GetPid(), w.Namespace)
	return call, client
}

// launchAttached launches a task and is attached to it until its end. It holds
// the input of a terminal.
func launchAttached(ctx context.Context, s *containerd.DefaultService, call helperCall) error {
	_, err := s.LaunchTask(ctx, call.ID, containerd.LaunchTaskRequest{
		IO: containerd.LogIO{Dir: call.FIFODir, MaxFiles: 1000, Stdin: call.Terminal}, Terminal: call.Terminal,
	})
	if err != nil {
		return err
	}
	typed := call.Args[0]
	seen := &told{of: strings.ReplaceAll(typed, "\n", "\r\n")} // a terminal's echo
	req := containerd.AttachTaskRequest{Stdout: seen, Tail: -1}
	if call.Terminal {
		never, _ := io.Pipe()
		req.Stdin = io.MultiReader(strings.NewReader(typed), never)
	}
	a, err := s.AttachTask(ctx, call.ID, req)
	if err != nil {
		return err
	}
	return a.Wait(ctx)
}

// told is the output of a helper, which tells once that a text is in it.
type told struct {
	of   string
	seen strings.Builder
	done bool
}

func (t *told) Write(p []byte) (int, error) {
	if t.done {
		return len(p), nil
	}
	t.seen.Write(p)
	if !strings.Contains(t.seen.String(), t.of) {
		return len(p), nil
	}
	t.done = true
	return len(p), helperSays(helperReport{Held: true})
}

// screen is what a test sees of an output, while it comes.
type screen struct {
	mu      sync.Mutex
	text    strings.Builder
	changed chan struct{} // closed by the next change
}

func newScreen() *screen { return &screen{changed: make(chan struct{})} }

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// await waits until the text is there.
func (s *screen) await(w *world, text string) {
	w.Helper()
	for {
		s.mu.Lock()
		all, changed := s.text.String(), s.changed
		s.mu.Unlock()
		if strings.Contains(all, text) {
			return
		}
		select {
		case <-changed:
		case <-w.ctx.Done():
			require.FailNow(w, "the output does not come", "%q is not in %q", text, all)
		}
	}
}

// typed writes to an input, which takes it or fails the test.
func (w *world) typed(to io.Writer, text string) {
	w.Helper()
	require.NoError(w, received(w, async(func() error {
		_, err := io.WriteString(to, text)
		return err
	})))
}

// exitCode waits for the task's exit, and returns the daemon's word on it.
func (w *world) exitCode(id string) uint32 {
	w.Helper()
	r, err := w.Client.TaskService().Wait(w.raw, &tasks.WaitRequest{ContainerID: id})
	require.NoError(w, err)
	return r.GetExitStatus()
}

// loggerEnds waits for the end of a terminal's logger, which closes the log a
// moment before. The shim does not wait for it, as it does for one of pipes.
func (w *world) loggerEnds() {
	w.Helper()
	require.Eventually(w, func() bool {
		return !strings.Contains(strings.Join(w.processes(), "\n"), logfile.Role)
	}, 20*time.Second, 10*time.Millisecond, "a logger is left")
}

// terminalSize asks the kernel for the size of a process's terminal.
func terminalSize(t *testing.T, pid uint32) string {
	t.Helper()
	tty, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/0", pid), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	defer tty.Close()
	size, err := unix.IoctlGetWinsize(int(tty.Fd()), unix.TIOCGWINSZ)
	require.NoError(t, err)
	return fmt.Sprintf("%dx%d", size.Col, size.Row)
}
