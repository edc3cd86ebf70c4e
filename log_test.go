package containerd

import (
	"bytes"
	"context"
	"os"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestClientLogsNowhereByDefault(t *testing.T) {
	ctx := withLogger(t.Context())
	assert.NotSame(t, log.L.Logger, log.G(ctx).Logger)
	var out bytes.Buffer
	shared := log.L.Logger.Out
	log.L.Logger.Out = &out
	t.Cleanup(func() { log.L.Logger.Out = shared })
	log.G(ctx).Error("something failed")
	log.G(ctx).WithError(os.ErrClosed).WithField("a", "b").Warn("something failed")
	assert.Empty(t, out.String())
}

func TestClientLogsToTheLoggerOfTheCaller(t *testing.T) {
	var out bytes.Buffer
	logger := zero(log.L.Logger)
	logger.Out, logger.Formatter, logger.Level = &out, log.L.Logger.Formatter, log.L.Logger.Level
	theirs := log.WithLogger(t.Context(), &log.Entry{Logger: logger})

	ctx := withLogger(theirs)

	assert.Same(t, logger, log.G(ctx).Logger)
	log.G(ctx).Error("something failed")
	assert.Contains(t, out.String(), "something failed")
}

// containerd's client logs what it fails to clean up: an unpacking that fails,
// and whose snapshot can't be removed either.
func TestFailedCleanUpOfTheClientWritesNothingToTheSharedLogger(t *testing.T) {
	d := newDaemon(t)
	d.forgetLayer(func() error { return errdefs.ErrResourceExhausted })
	d.once("Snapshots/Remove", func(context.Context) error { return errdefs.ErrPermissionDenied })
	s := d.service()
	var out bytes.Buffer
	shared := log.L.Logger.Out
	log.L.Logger.Out = &out
	t.Cleanup(func() { log.L.Logger.Out = shared })

	_, err := s.CreateContainer(t.Context(), newContainer)

	require.Error(t, err)
	assert.Contains(t, d.methods(), "Snapshots/Remove", "the client tried")
	assert.Empty(t, out.String())
}
