package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/ctrdkit/containerd"
)

// logs returns the role, or skips the case.
func (e *env) logs() containerd.LogReader {
	e.Helper()
	role, ok := e.Service.(containerd.LogReader)
	if !ok {
		e.Skip("the service has no LogReader")
	}
	return role
}

// attacher returns the role, or skips the case.
func (e *env) attacher() containerd.Attacher {
	e.Helper()
	role, ok := e.Service.(containerd.Attacher)
	if !ok {
		e.Skip("the service has no Attacher")
	}
	return role
}

// logged makes a container and starts its task with a log.
func (e *env) logged(args ...string) string {
	e.Helper()
	io := e.logIO()
	id := e.create(args...)
	e.launch(id, containerd.LaunchTaskRequest{IO: io})
	return id
}

// terminalLogged is logged for a terminal with an input.
func (e *env) terminalLogged(args ...string) string {
	e.Helper()
	io := e.logIO()
	io.Stdin = true
	id := e.create(args...)
	e.launch(id, containerd.LaunchTaskRequest{IO: io, Terminal: true})
	return id
}

// numbered has a log of the lines 1 to 9, at different times.
func (e *env) numbered() string {
	e.Helper()
	id := e.logged("sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.01; done")
	e.waitExit(id)
	return id
}

// entries returns what the service gives, up to an error.
func (e *env) entries(id string, opts *containerd.LogsOptions) (list []containerd.LogEntry, err error) {
	e.Helper()
	for entry, err := range e.logs().Logs(e.ctx, id, opts) {
		if err != nil {
			return list, err
		}
		list = append(list, entry)
	}
	return list, nil
}

// log returns the bytes of each stream.
func (e *env) log(id string, opts *containerd.LogsOptions) map[string]string {
	e.Helper()
	list, err := e.entries(id, opts)
	e.ok(err)
	return joined(list)
}

func joined(list []containerd.LogEntry) map[string]string {
	all := map[string][]byte{}
	for _, entry := range list {
		all[entry.Stream] = append(all[entry.Stream], entry.Data...)
	}
	got := map[string]string{}
	for stream, data := range all {
		got[stream] = string(data)
	}
	return got
}

// followed is log with Follow for another goroutine.
func (e *env) followed(id string) map[string]string {
	list, err := e.entries(id, &containerd.LogsOptions{Follow: true})
	if err != nil {
		e.Errorf("following the log: %v", err)
	}
	return joined(list)
}

// wantLog checks what the log has of each stream.
func (e *env) wantLog(id, stdout, stderr string) {
	e.Helper()
	got := e.log(id, nil)
	e.want(got["stdout"] == stdout, "stdout is %s, want %s", shown(got["stdout"]), shown(stdout))
	e.want(got["stderr"] == stderr, "stderr is %s, want %s", shown(got["stderr"]), shown(stderr))
}

// shown is a text as a message has room for.
func shown(text string) string {
	if len(text) > 200 {
		return fmt.Sprintf("%d bytes that end with %q", len(text), text[len(text)-50:])
	}
	return fmt.Sprintf("%q", text)
}

// untilLogged waits until a stream's log has n lines.
func (e *env) untilLogged(id, stream string, n int) {
	e.Helper()
	e.until(func() bool { return strings.Count(e.log(id, nil)[stream], "\n") >= n })
}

// until waits for a condition that nothing tells of.
func (e *env) until(holds func() bool) {
	e.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-e.ctx.Done():
			e.Fatal("the condition never holds")
		}
	}
}

// briefly is a context that ends soon.
func (e *env) briefly() (context.Context, context.CancelFunc) {
	return context.WithTimeout(e.ctx, 200*time.Millisecond)
}

func (e *env) isInputTaken(err error) {
	e.Helper()
	e.want(errors.Is(err, containerd.ErrInputTaken), "error is not ErrInputTaken: %v", err)
}

// lockedBuffer is a buffer that can be looked at while it is written to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// fullWriter takes nothing.
type fullWriter struct{}

func (fullWriter) Write([]byte) (int, error) { return 0, errors.New("full") }

func dirEntries(dir string) (names []string, err error) {
	list, err := os.ReadDir(dir)
	for _, entry := range list {
		names = append(names, entry.Name())
	}
	return names, err
}
