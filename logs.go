package containerd

import (
	"context"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/ctrdkit/containerd/internal/logfile"
)

// LogsOptions choose entries of a log. nil and the zero value are the same:
// everything that there is now.
type LogsOptions struct {
	// Follow goes on with what the task writes, and ends by itself when the task
	// has ended, or Until has passed, and everything was delivered. Without it the
	// reading ends where the log did when it began.
	Follow bool
	// Tail is the number of lines at the end of the log to begin with; 0 means
	// all, a negative number means none, only what comes from now on. Lines are
	// whole, also those that were written in parts; what has no end yet counts too.
	Tail int
	// Since and Until bound the time at which entries were logged, both
	// inclusive; the zero time means no bound. Times are not in order where
	// somebody has set the machine's clock.
	Since, Until time.Time
	// Stream chooses "stdout" or "stderr"; "" means both.
	Stream string
}

// LogEntry is a line that a task has written, or a part of one.
type LogEntry struct {
	// Time is when it was logged, with nanoseconds.
	Time time.Time `json:"time"`
	// Stream is "stdout" or "stderr". A terminal's output is "stdout".
	Stream string `json:"stream"`
	// Data is what was written, with the newline at its end, byte for byte. It is
	// the receiver's.
	Data []byte `json:"data,omitempty"`
	// Partial says that Data is not the end of a line: the next entry of the
	// stream goes on with it, unless that is where the stream ended.
	Partial bool `json:"partial,omitempty"`
	// Lost is the number of bytes that are missing here, at least. They could not
	// be logged, for want of space, which is counted; or they were removed, by
	// rotation or by somebody, before this reader got to them, and Lost is 1. Such
	// an entry has no Stream and no Data.
	Lost int64 `json:"lost,omitempty"`
}

// Logs returns the log of the container containerID, in the order in which it
// was written, over all tasks that were started with [LogIO]. Everything that a
// task wrote before the iteration begins is in it, also if the logger was
// behind. Rotation while it is read loses nothing but files that are removed
// before the reader gets to them, and an entry with Lost is in their place.
//
// The sequence ends with an error if something fails: not-found if the container
// does not exist, failed-precondition if it has no log, invalid-argument for bad
// options, ctx's error when that ends. If it can't be told any more whether the
// task runs, a follower gets what there is and that error. It can be iterated
// more than once.
func (s *DefaultService) Logs(ctx context.Context, containerID string, opts *LogsOptions) iter.Seq2[LogEntry, error] {
	const op = "read logs"
	if opts == nil {
		opts = &LogsOptions{}
	}
	return func(yield func(LogEntry, error) bool) {
		err := s.logs(ctx, containerID, *opts, func(e LogEntry) bool { return yield(e, nil) })
		if err != nil {
			yield(LogEntry{}, opError(ctx, op, containerID, err))
		}
	}
}

func (s *DefaultService) logs(ctx context.Context, id string, opts LogsOptions, deliver func(LogEntry) bool) error {
	err := firstError(checkID("containerID", id), opts.check())
	if err != nil {
		return err
	}
	ctx, err = s.begin(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := s.untilClosed(ctx)
	defer cancel()
	log, err := s.openLog(ctx, id, opts)
	if err != nil {
		return err
	}
	defer log.stop()
	for e, err := range log.All(ctx) {
		if err != nil {
			return err
		}
		if !deliver(logEntry(e)) {
			return nil
		}
	}
	return log.waitError()
}

func (o LogsOptions) check() error {
	if o.Stream != "" && o.Stream != string(logfile.Stdout) && o.Stream != string(logfile.Stderr) {
		return invalid(`Stream %s is neither "stdout" nor "stderr"`, quoted(o.Stream))
	}
	if !o.Since.IsZero() && !o.Until.IsZero() && o.Until.Before(o.Since) {
		return invalid("Until %s is before Since %s", o.Until.Format(time.RFC3339Nano), o.Since.Format(time.RFC3339Nano))
	}
	return nil
}

// openedLog is a log, and for a follower the wait for its task's end.
type openedLog struct {
	*logfile.Log
	wait    *waiting // nil without Follow
	release func()   // of the timer for Until
}

// stop ends the wait.
func (l *openedLog) stop() {
	l.release()
	if l.wait != nil {
		l.wait.stop()
	}
}

// waitError returns why the wait has failed. A wait that goes on has not.
func (l *openedLog) waitError() error {
	if l.wait == nil {
		return nil
	}
	select {
	case <-l.wait.done:
		return l.wait.err
	default:
		return nil
	}
}

// openLog opens a container's log. A follower ends with the task that runs now.
// The caller calls stop.
func (s *DefaultService) openLog(ctx context.Context, id string, opts LogsOptions) (_ *openedLog, err error) {
	record, err := s.load(ctx, id)
	if err != nil {
		return nil, err
	}
	dir, err := s.logOf(record)
	if err != nil {
		return nil, err
	}
	read := logfile.ReadOptions{
		Follow: opts.Follow, Tail: opts.Tail, Since: opts.Since, Until: opts.Until, Only: logfile.Stream(opts.Stream),
	}
	l := &openedLog{release: func() {}}
	if opts.Follow {
		l.wait = s.startWait(ctx, id, "")
		read.Ended = l.wait.done
		if !opts.Until.IsZero() { // the machine's time, as the log's is
			read.Passed, l.release = s.clock.NewTimer(time.Until(opts.Until))
		}
	}
	if l.Log, err = logfile.Open(ctx, dir, read); err != nil {
		l.stop()
		return nil, err
	}
	return l, nil
}

func logEntry(e logfile.Entry) LogEntry {
	if e.Stream != logfile.Lost {
		return LogEntry{Time: e.Time, Stream: string(e.Stream), Data: e.Data, Partial: e.Partial}
	}
	lost, err := strconv.ParseInt(strings.TrimSpace(string(e.Data)), 10, 64)
	if err != nil {
		lost = 1 // at least
	}
	return LogEntry{Time: e.Time, Lost: lost}
}

// untilClosed returns a context that also ends when the service is closed.
func (s *DefaultService) untilClosed(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-s.closed:
			cancel(errServiceClosed)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil); <-ended }
}
