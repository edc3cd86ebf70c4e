package containerd

import (
	"context"
	"io"

	"github.com/containerd/log"
)

// silent discards everything: its level, the zero value, is the one of panics.
var silent = func() *log.Entry {
	logger := zero(log.L.Logger)
	logger.Out = io.Discard
	logger.Formatter = log.L.Logger.Formatter
	return &log.Entry{Logger: logger}
}()

// zero returns a new zero value of what p points to.
func zero[T any](*T) *T { return new(T) }

// withLogger keeps containerd's client from logging to this process's stderr:
// it logs to the logger that the caller's context carries (see
// github.com/containerd/log), else nowhere. Errors are returned, not logged.
func withLogger(ctx context.Context) context.Context {
	if log.G(ctx).Logger != log.L.Logger {
		return ctx
	}
	return log.WithLogger(ctx, silent)
}
