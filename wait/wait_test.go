package wait_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdmock"
	"github.com/ctrdkit/containerd/containerdtest"
	"github.com/ctrdkit/containerd/wait"
)

const soon = 5 * time.Millisecond

// start starts a container on a fake.
func start(t *testing.T, args ...string) (wait.Target, *containerd.DefaultService) {
	t.Helper()
	fake := containerdtest.New(t)
	fake.AddImage("app", containerdtest.Image{Cmd: args})
	service := fake.Open(containerd.DefaultNamespace)
	_, err := service.CreateContainer(t.Context(), containerd.CreateContainerRequest{ID: "app", ImageRef: "app"})
	require.NoError(t, err)
	_, err = service.StartTask(t.Context(), "app", nil)
	require.NoError(t, err)
	return wait.Target{Service: service, ContainerID: "app"}, service
}

// briefly is a context that ends before the condition holds.
func briefly(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// assertTimeout checks the error of a condition that never held.
func assertTimeout(t *testing.T, err error, strategy, last string) {
	t.Helper()
	require.ErrorIs(t, err, context.DeadlineExceeded)
	failed, ok := errors.AsType[*wait.Error](err)
	require.True(t, ok, "%T", err)
	assert.Equal(t, strategy, failed.Strategy)
	require.Error(t, failed.Last)
	assert.ErrorContains(t, failed.Last, last)
	assert.ErrorContains(t, err, strategy)
	assert.ErrorContains(t, err, last)
}

func TestForExec(t *testing.T) {
	target, service := start(t, "sleep", "300")
	ready := wait.ForExec("sh", "-c", "[ -e /ready ]").WithPollInterval(soon)
	assertTimeout(t, ready.Wait(briefly(t), target), `exec "sh" "-c" "[ -e /ready ]"`, "exit code 1")
	_, err := service.ExecTask(t.Context(), "app", containerd.ExecTaskRequest{Args: []string{"touch", "/ready"}})
	require.NoError(t, err)
	require.NoError(t, ready.Wait(t.Context(), target))

	err = wait.ForExec("nonesuch").Wait(t.Context(), target)
	assert.True(t, errdefs.IsNotFound(err), "a program that is missing is not waited for: %v", err)
	err = wait.ForExec().Wait(t.Context(), target)
	assert.True(t, errdefs.IsInvalidArgument(err), "%v", err)
	require.NoError(t, service.StopTask(t.Context(), "app", &containerd.StopTaskOptions{Signal: 9}))
	err = ready.Wait(t.Context(), target)
	assert.True(t, errdefs.IsFailedPrecondition(err), "a task that has ended is not waited for: %v", err)
}

func TestForExecWaitsForADaemonThatIsAway(t *testing.T) {
	service := containerdmock.NewTaskService(t)
	away := &containerd.Error{Op: "exec task", Err: errdefs.ErrUnavailable}
	service.EXPECT().ExecTask(mock.Anything, "app", mock.Anything).Return(containerd.ExecTaskResult{}, away).Once()
	service.EXPECT().ExecTask(mock.Anything, "app", mock.Anything).Return(containerd.ExecTaskResult{}, nil).Once()
	require.NoError(t, wait.ForExec("true").WithPollInterval(soon).Wait(t.Context(), wait.Target{Service: service, ContainerID: "app"}))
}

func TestForFile(t *testing.T) {
	target, service := start(t, "sleep", "300")
	name := `/a "file"; exit 0`
	file := wait.ForFile(name).WithPollInterval(soon)
	assertTimeout(t, file.Wait(briefly(t), target), fmt.Sprintf("file %q", name), "exit code 1")
	_, err := service.ExecTask(t.Context(), "app", containerd.ExecTaskRequest{Args: []string{"touch", name}})
	require.NoError(t, err)
	require.NoError(t, file.Wait(t.Context(), target))
	err = wait.ForFile("ready").Wait(t.Context(), target)
	assert.True(t, errdefs.IsInvalidArgument(err), "%v", err)
}

func TestForExit(t *testing.T) {
	target, _ := start(t, "sh", "-c", "sleep 0.05; exit 3")
	require.NoError(t, wait.ForExit(3).Wait(t.Context(), target))
	err := wait.ForExit(0).Wait(t.Context(), target)
	assert.True(t, errdefs.IsFailedPrecondition(err), "%v", err)
	assert.ErrorContains(t, err, "3")
	target.ContainerID = "other"
	err = wait.ForExit(0).Wait(t.Context(), target)
	assert.True(t, errdefs.IsNotFound(err), "%v", err)
	target, _ = start(t, "sleep", "300")
	require.ErrorIs(t, wait.ForExit(0).Wait(briefly(t), target), context.DeadlineExceeded)
}

func TestForExitOnAServiceThatOnlyLists(t *testing.T) {
	service := containerdmock.NewService(t)
	target := wait.Target{Service: service, ContainerID: "app"}
	list := func(tasks ...containerd.TaskInfo) {
		service.EXPECT().ListTasks(mock.Anything, &containerd.ListTasksOptions{Filter: `id=="app"`}).Return(tasks, nil).Once()
	}
	exit := wait.ForExit(4).WithPollInterval(soon)
	list(containerd.TaskInfo{Status: tasktypes.Status_RUNNING})
	list(containerd.TaskInfo{Status: tasktypes.Status_STOPPED, ExitStatus: 4})
	require.NoError(t, exit.Wait(t.Context(), target))
	list(containerd.TaskInfo{Status: tasktypes.Status_STOPPED, ExitStatus: 5})
	assert.True(t, errdefs.IsFailedPrecondition(exit.Wait(t.Context(), target)))
	list()
	assert.True(t, errdefs.IsNotFound(exit.Wait(t.Context(), target)))
}

func TestForPort(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	port := wait.ForPort(address).WithPollInterval(soon)
	require.NoError(t, port.Wait(t.Context(), wait.Target{}))
	require.NoError(t, listener.Close())
	assertTimeout(t, port.Wait(briefly(t), wait.Target{}), "port "+address, "refused")
	err = wait.ForPort("nonsense").Wait(t.Context(), wait.Target{})
	assert.True(t, errdefs.IsInvalidArgument(err), "%v", err)
}

// logs is a log of entries, which is read to its end.
type logs []containerd.LogEntry

func (l logs) Logs(_ context.Context, id string, opts *containerd.LogsOptions) iter.Seq2[containerd.LogEntry, error] {
	return func(yield func(containerd.LogEntry, error) bool) {
		if id != "app" || !opts.Follow {
			yield(containerd.LogEntry{}, errdefs.ErrNotFound)
			return
		}
		for _, entry := range l {
			if !yield(entry, nil) {
				return
			}
		}
	}
}

func TestForLogLineOfALog(t *testing.T) {
	target := wait.Target{ContainerID: "app"}
	lines := wait.FromLogs(logs{
		{Stream: "stdout", Data: []byte("starting\n")},
		{Stream: "stdout", Data: []byte("listening "), Partial: true},
		{Stream: "stderr", Data: []byte("warning\r\n")},
		{Stream: "stdout", Data: []byte("on port 80\n")},
	})
	require.NoError(t, wait.ForLogLine(lines, "listening on").Wait(t.Context(), target), "parts are put together")
	require.NoError(t, wait.ForLogMatch(lines, regexp.MustCompile(`^listening on port \d+$`)).Wait(t.Context(), target))
	require.NoError(t, wait.ForLogMatch(lines, regexp.MustCompile(`^warning$`)).Wait(t.Context(), target))
	err := wait.ForLogLine(lines, "done").Wait(t.Context(), target)
	assert.True(t, errdefs.IsFailedPrecondition(err), "nothing more comes: %v", err)
	require.ErrorContains(t, err, `none of 3 lines, the last one "listening on port 80"`)
	err = wait.ForLogLine(lines, "done").Wait(t.Context(), wait.Target{ContainerID: "other"})
	assert.True(t, errdefs.IsNotFound(err), "%v", err)
	long := wait.FromLogs(logs{{Stream: "stdout", Data: []byte(strings.Repeat("é", 1<<20) + "end")}})
	err = wait.ForLogLine(long, "end").Wait(t.Context(), target)
	assert.True(t, errdefs.IsFailedPrecondition(err), "%v", err)
	assert.Less(t, len(err.Error()), 500)
}

func TestForLogLineOfALogWithALastLineThatHasNoEnd(t *testing.T) {
	lines := wait.FromLogs(logs{
		{Stream: "stdout", Data: []byte("rea"), Partial: true},
		{Lost: 7},
		{Stream: "stderr", Data: []byte("last words"), Partial: true},
		{Stream: "stdout", Data: []byte("dy"), Partial: true},
	})
	target := wait.Target{ContainerID: "app"}
	require.NoError(t, wait.ForLogMatch(lines, regexp.MustCompile("^ready$")).Wait(t.Context(), target))
	require.NoError(t, wait.ForLogMatch(lines, regexp.MustCompile("^last words$")).Wait(t.Context(), target))
	err := wait.ForLogMatch(lines, regexp.MustCompile("^$")).Wait(t.Context(), target)
	assert.True(t, errdefs.IsFailedPrecondition(err), "what was lost is no line: %v", err)
}

// Lines of another kind are read again when they end.
func TestForLogLineReadsLinesThatEndAgain(t *testing.T) {
	reads := 0
	lines := func(context.Context, wait.Target) iter.Seq2[string, error] {
		reads++
		return func(yield func(string, error) bool) { yield(fmt.Sprintf("read %d", reads), nil) }
	}
	require.NoError(t, wait.ForLogLine(lines, "read 3").WithPollInterval(soon).Wait(t.Context(), wait.Target{}))
}

func TestForLogLineOfAReader(t *testing.T) {
	target := wait.Target{}
	r, w := io.Pipe()
	lines := wait.FromReader(r)
	go func() { _, _ = io.WriteString(w, "one\ntwo\n") }()
	require.NoError(t, wait.ForLogLine(lines, "two").Wait(t.Context(), target))
	err := wait.ForLogLine(lines, "three").Wait(t.Context(), target)
	assert.True(t, errdefs.IsFailedPrecondition(err), "a reader is read once: %v", err)
	require.NoError(t, w.Close())

	err = wait.ForLogLine(wait.FromReader(strings.NewReader("one\n")), "two").Wait(t.Context(), target)
	assert.True(t, errdefs.IsFailedPrecondition(err), "nothing more comes: %v", err)
	broken := errors.New("broken")
	err = wait.ForLogLine(wait.FromReader(io.MultiReader(strings.NewReader("one\n"), errReader{broken})), "two").Wait(t.Context(), target)
	require.ErrorIs(t, err, broken)

	blocked, end := io.Pipe()
	require.ErrorIs(t, wait.ForLogLine(wait.FromReader(blocked), "x").Wait(briefly(t), target), context.DeadlineExceeded)
	require.NoError(t, end.Close())
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestForFunc(t *testing.T) {
	looks := 0
	count := wait.ForFunc("three looks", func(context.Context, wait.Target) (bool, error) {
		looks++
		return looks == 3, nil
	}).WithPollInterval(soon)
	require.NoError(t, count.Wait(t.Context(), wait.Target{}))
	assert.Equal(t, 3, looks)
	assertTimeout(t, count.Wait(briefly(t), wait.Target{}), "three looks", "does not hold")
	broken := errors.New("broken")
	failing := wait.ForFunc("failure", func(context.Context, wait.Target) (bool, error) { return false, broken })
	require.ErrorIs(t, failing.Wait(t.Context(), wait.Target{}), broken)
	err := count.WithPollInterval(-1).Wait(t.Context(), wait.Target{})
	assert.True(t, errdefs.IsInvalidArgument(err), "%v", err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	looks = 0
	require.ErrorIs(t, count.Wait(ctx, wait.Target{}), context.Canceled)
	assert.Zero(t, looks, "a context that has ended looks at nothing")
}

var (
	holds = wait.ForFunc("yes", func(context.Context, wait.Target) (bool, error) { return true, nil })
	never = wait.ForFunc("never", func(context.Context, wait.Target) (bool, error) { return false, nil })
	fails = wait.ForFunc("failure", func(context.Context, wait.Target) (bool, error) { return false, errdefs.ErrNotFound })
)

func TestAll(t *testing.T) {
	target := wait.Target{}
	require.NoError(t, wait.All().Wait(t.Context(), target))
	require.NoError(t, wait.All(holds, holds).Wait(t.Context(), target))
	err := wait.All(never, fails, holds).Wait(t.Context(), target)
	require.ErrorIs(t, err, errdefs.ErrNotFound, "one that fails ends the others")
	failed, ok := errors.AsType[*wait.Error](err)
	require.True(t, ok)
	assert.Equal(t, "failure", failed.Strategy)
	assertTimeout(t, wait.All(holds, never).Wait(briefly(t), target), "never", "does not hold")
}

func TestAny(t *testing.T) {
	target := wait.Target{}
	require.NoError(t, wait.Any(never, holds).Wait(t.Context(), target), "one that holds ends the others")
	require.NoError(t, wait.Any(fails, holds).Wait(t.Context(), target))
	err := wait.Any(fails, fails).Wait(t.Context(), target)
	require.ErrorIs(t, err, errdefs.ErrNotFound)
	assert.ErrorContains(t, err, "failure")
	assertTimeout(t, wait.Any(fails, never).Wait(briefly(t), target), "any condition", "never")
	assert.True(t, errdefs.IsInvalidArgument(wait.Any().Wait(t.Context(), target)))
	require.NoError(t, wait.Any(wait.All(never, holds), wait.Any(holds)).Wait(t.Context(), target), "they nest")
}
