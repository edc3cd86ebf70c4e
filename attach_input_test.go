package containerd

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctrdkit/containerd/internal/logfile"
)

// A child that this process has forked, and that has not called exec yet, has
// all of its files, with their locks.
func TestAnInputIsFreeOnceReleasedAlthoughAChildHasItOpen(t *testing.T) {
	dir := t.TempDir()
	name, err := logfile.MakeInput(dir)
	require.NoError(t, err)
	task, err := os.OpenFile(name, os.O_RDWR|unix.O_NONBLOCK, 0)
	require.NoError(t, err)
	defer task.Close()
	first, err := takeInput(dir)
	require.NoError(t, err)
	conn, err := first.lock.SyscallConn()
	require.NoError(t, err)
	var child int
	require.NoError(t, conn.Control(func(fd uintptr) { child, err = unix.Dup(int(fd)) }))
	require.NoError(t, err)
	defer unix.Close(child)
	_, err = takeInput(dir)
	require.ErrorIs(t, err, ErrInputTaken)

	require.NoError(t, first.release())

	next, err := takeInput(dir)
	require.NoError(t, err)
	assert.NoError(t, next.release())
}

// newKeys is a file like a terminal, and its other end.
func newKeys(t *testing.T) (keys, typing *os.File) {
	t.Helper()
	keys, typing, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, errors.Join(keys.Close(), typing.Close())) })
	return keys, typing
}

func typeLine(t *testing.T, to *os.File, line string) {
	t.Helper()
	_, err := to.WriteString(line)
	require.NoError(t, err)
}

func TestWhatIsTypedAfterDetachingIsForTheNextAttachment(t *testing.T) {
	a := newAttachable(t)
	keys, typing := newKeys(t)
	first := a.attach(AttachTaskRequest{Stdin: keys})
	typeLine(t, typing, "one\n")
	a.wantTyped("one\n")
	require.NoError(t, first.Detach())

	typeLine(t, typing, "two\n")
	second := a.attach(AttachTaskRequest{Stdin: keys})
	a.wantTyped("two\n")
	require.NoError(t, second.Detach())
}

func TestWhatIsTypedAfterTheTaskHasEndedIsNotTheAttachments(t *testing.T) {
	a := newAttachable(t)
	keys, typing := newKeys(t)
	attached := a.attach(AttachTaskRequest{Stdin: keys})
	typeLine(t, typing, "exit\n")
	a.wantTyped("exit\n")
	a.ends()
	require.NoError(t, attached.Wait(t.Context()))

	typeLine(t, typing, "next command\n")
	require.NoError(t, keys.SetReadDeadline(time.Now().Add(patience)))
	line, err := bufio.NewReader(keys).ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "next command\n", line)
}

func TestAnInputWhoseReaderHasEndedIsFree(t *testing.T) {
	a := newAttachable(t)
	first := a.attach(AttachTaskRequest{Stdin: strings.NewReader("one\n")})
	a.wantTyped("one\n")
	received(t, first.(*attachment).feeder.ended)

	second := a.attach(AttachTaskRequest{Stdin: strings.NewReader("two\n")})
	a.wantTyped("two\n")
	require.NoError(t, errors.Join(first.Detach(), second.Detach()))
}

// Nobody can end the Read of a reader that is not a file.
func TestDetachingDoesNotWaitForTheCallersReader(t *testing.T) {
	a := newAttachable(t)
	stopClock(a.s)
	keys, typing := io.Pipe()
	attached := a.attach(AttachTaskRequest{Stdin: keys})
	_, err := io.WriteString(typing, "one\n")
	require.NoError(t, err)
	a.wantTyped("one\n")
	require.NoError(t, attached.Detach())

	free, err := takeInput(a.dir)
	require.NoError(t, err)
	require.NoError(t, free.release())
	_, err = io.WriteString(typing, "for nobody\n")
	require.NoError(t, err)
	received(t, attached.(*attachment).feeder.ended)
	require.NoError(t, a.stdin.SetReadDeadline(time.Now().Add(-1)))
	_, err = a.stdin.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "nothing came")
}

func TestATaskThatTakesNoInputCanBeDetachedFrom(t *testing.T) {
	a := newAttachable(t)
	attached := a.attach(AttachTaskRequest{Stdin: endless{}}) // more than the FIFO holds
	require.NoError(t, attached.Detach())
	received(t, attached.(*attachment).feeder.ended)
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
