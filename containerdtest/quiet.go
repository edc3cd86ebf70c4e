package containerdtest

import (
	"context"
	"io"
	"sync"

	"github.com/containerd/log"
	"github.com/sirupsen/logrus"
)

// withoutLog keeps the daemon's log from the test's output: what goes wrong is
// told by an error.
func withoutLog(ctx context.Context) context.Context {
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	return log.WithLogger(ctx, logrus.NewEntry(logger))
}

// noise is what containerd's content store says to the process's own log, once
// for every fake, on most file systems.
const noise = "failed check for fsverity support"

// quieten keeps that line, and no other, out of the process's log.
var quieten = sync.OnceFunc(func() {
	log.L.Logger.SetFormatter(filter{log.L.Logger.Formatter})
})

type filter struct{ logrus.Formatter }

// Format returns nothing for the one line.
func (f filter) Format(entry *logrus.Entry) ([]byte, error) {
	if entry.Message == noise {
		return nil, nil
	}
	return f.Formatter.Format(entry)
}
