package wait

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

// maxLine bounds a line that is put together from parts; the rest is dropped.
const maxLine = 1 << 20

// Lines gives the lines of a container's output, without their ends, from the
// first on. It is called again when its sequence ends without an error and
// without the line that is waited for.
type Lines func(ctx context.Context, target Target) iter.Seq2[string, error]

// FromLogs gives the lines of a container's log as long as its task runs, both
// streams together, also a last one without an end. The task's end is an error of
// the class failed-precondition, since nothing more will come.
func FromLogs(reader containerd.LogReader) Lines {
	return func(ctx context.Context, target Target) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			parts := map[string][]byte{} // lines that are not complete, by stream
			for entry, err := range reader.Logs(ctx, target.ContainerID, &containerd.LogsOptions{Follow: true}) {
				if err != nil {
					yield("", err)
					return
				}
				if entry.Lost > 0 {
					continue // it is no line
				}
				line := parts[entry.Stream]
				line = append(line, entry.Data[:min(len(entry.Data), maxLine-len(line))]...)
				if parts[entry.Stream] = line; entry.Partial {
					continue
				}
				delete(parts, entry.Stream)
				if !yield(strings.TrimRight(string(line), "\r\n"), nil) {
					return
				}
			}
			for _, stream := range slices.Sorted(maps.Keys(parts)) {
				if !yield(string(parts[stream]), nil) {
					return
				}
			}
			yield("", fmt.Errorf("the task has ended: %w", errdefs.ErrFailedPrecondition))
		}
	}
}

// FromReader gives the lines of a reader, for example of the pipe that a task's
// output goes to. They are read once, for one strategy and one wait. A reader
// that blocks can't be stopped: what it reads after ctx has ended is lost, and
// its goroutine ends when Read returns, so close it. The reader's end is an
// error, since nothing more will come.
func FromReader(r io.Reader) Lines {
	var once sync.Once
	return func(ctx context.Context, _ Target) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			first := false
			once.Do(func() { first = true })
			if !first {
				yield("", fmt.Errorf("the reader was read before: %w", errdefs.ErrFailedPrecondition))
				return
			}
			readLines(ctx, r, yield)
		}
	}
}

func readLines(ctx context.Context, r io.Reader, yield func(string, error) bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type read struct {
		line string
		err  error
	}
	lines := make(chan read)
	go func() {
		scanner := bufio.NewScanner(r)
		scanner.Buffer(nil, maxLine)
		for next := true; next; {
			var got read
			if next = scanner.Scan(); next {
				got.line = scanner.Text()
			} else if got.err = scanner.Err(); got.err == nil {
				got.err = fmt.Errorf("the output has ended: %w", errdefs.ErrFailedPrecondition)
			}
			select {
			case lines <- got:
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case got := <-lines:
			if !yield(got.line, got.err) || got.err != nil {
				return
			}
		case <-ctx.Done():
			yield("", ctx.Err())
			return
		}
	}
}

// LogLine is the condition of [ForLogLine].
type LogLine struct {
	lines    Lines
	match    func(line string) bool
	name     string
	interval time.Duration
}

// ForLogLine waits for a line of the container's output that contains text. An
// error of lines ends the wait.
func ForLogLine(lines Lines, text string) LogLine {
	return LogLine{lines: lines, name: "log line " + strconv.Quote(text), match: func(line string) bool {
		return strings.Contains(line, text)
	}}
}

// ForLogMatch waits for a line of the container's output that an expression
// matches. An error of lines ends the wait.
func ForLogMatch(lines Lines, expression *regexp.Regexp) LogLine {
	return LogLine{lines: lines, name: "log line like " + strconv.Quote(expression.String()), match: expression.MatchString}
}

// WithPollInterval returns the strategy with another time between the end of the
// lines and the next look at them.
func (l LogLine) WithPollInterval(d time.Duration) LogLine { l.interval = d; return l }

// Wait implements [Strategy].
func (l LogLine) Wait(ctx context.Context, target Target) error {
	return poll(ctx, l.name, l.interval, func(ctx context.Context) error {
		n, last := 0, ""
		for line, err := range l.lines(ctx, target) {
			switch {
			case err != nil && n > 0:
				return fmt.Errorf("none of %d lines, the last one %q: %w", n, cut(last), err)
			case err != nil:
				return err
			case l.match(line):
				return nil
			}
			n, last = n+1, line
		}
		return notYet("none of %d lines, the last one %q", n, cut(last))
	})
}

// cut shortens a line for an error.
func cut(line string) string {
	const length = 100
	if len(line) > length {
		return string(bytes.ToValidUTF8([]byte(line[:length]), nil)) + "..."
	}
	return line
}

func invalidAddress(err error) error {
	return fmt.Errorf("%w: %w", err, containerd.ErrInvalidArgument)
}
