package embedded

import (
	"io"
	"strings"
	"sync"
)

const tailSize = 2048

// logTail passes the daemon's log on and keeps its end.
type logTail struct {
	mu   sync.Mutex
	next io.Writer
	tail []byte
}

// Write never fails: the daemon must not end because its log cannot be written.
func (t *logTail) Write(p []byte) (int, error) {
	t.add(p)
	return len(p), nil
}

func (t *logTail) add(p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keep(p)
	if t.next != nil {
		if _, err := t.next.Write(p); err != nil {
			t.next = nil
			t.keep([]byte("writing to Options.Log: " + err.Error() + "\n"))
		}
	}
}

func (t *logTail) keep(p []byte) {
	t.tail = append(t.tail, p...)
	t.tail = t.tail[max(0, len(t.tail)-tailSize):]
}

// addLine adds a line of the parent's own to the log.
func (t *logTail) addLine(line string) {
	t.add([]byte(line + "\n"))
}

// String returns the end of the log.
func (t *logTail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.tail) == 0 {
		return "without a word"
	}
	return "after saying: " + strings.TrimSpace(string(t.tail))
}
