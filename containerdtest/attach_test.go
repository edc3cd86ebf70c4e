package containerdtest_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdtest"
)

// logged makes a container and starts its task with a log.
func (w *world) logged(id string, args ...string) {
	w.t.Helper()
	w.create(id, args...)
	_, err := w.LaunchTask(w.ctx, id, containerd.LaunchTaskRequest{IO: containerd.LogIO{}})
	require.NoError(w.t, err)
}

func (w *world) attachTo(id string, req containerd.AttachTaskRequest) containerd.Attachment {
	w.t.Helper()
	a, err := w.AttachTask(w.ctx, id, req)
	require.NoError(w.t, err)
	return a
}

func TestASleepingTaskEndsAtOnceWhileSomebodyWaitsForItsAttachment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, containerdtest.WithVirtualTime())
	w.logged("web", "sh", "-c", "echo first; sleep 3600; echo last")
	w.logged("db", "sleep", "7200")
	var out bytes.Buffer
	unwatched := w.attachTo("db", containerd.AttachTaskRequest{})
	attached := w.attachTo("web", containerd.AttachTaskRequest{Stdout: &out, Tail: -1})

	began := time.Now()
	require.NoError(t, attached.Wait(w.ctx))
	assertSkipped(t, began, time.Hour)
	assert.Equal(t, "first\nlast\n", out.String())
	assert.Equal(t, "RUNNING", w.status("db", ""), "it has more to sleep")
	require.NoError(t, unwatched.Wait(w.ctx))
	assertSkipped(t, began, 2*time.Hour)
}

func TestAnAttachmentThatNobodyWaitsForDoesNotPassTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, containerdtest.WithVirtualTime())
	w.logged("web", "sleep", "3600")
	attached := w.attachTo("web", containerd.AttachTaskRequest{})
	<-time.After(50 * time.Millisecond) // that nothing happens has no event
	assert.Equal(t, "RUNNING", w.status("web", ""))
	require.NoError(t, attached.Wait(w.ctx))
	assert.Equal(t, "STOPPED", w.status("web", ""))
}
