package containerd

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ctrdkit/containerd/internal/clock"
	"github.com/ctrdkit/containerd/internal/grpcmock"
)

// quickClock makes every timer elapse at once.
type quickClock struct{ clock.System }

func (quickClock) NewTimer(time.Duration) (<-chan time.Time, func()) {
	c := make(chan time.Time, 1)
	c <- time.Time{}
	return c, func() {}
}

func (q quickClock) NewProcessTimer(d time.Duration) (<-chan time.Time, func()) { return q.NewTimer(d) }

// mocked returns a service over mocked containerd services, and a context in
// its namespace.
func mocked(t *testing.T) (context.Context, *DefaultService, *grpcmock.Server) {
	t.Helper()
	server := grpcmock.New(t)
	client, err := server.Client()
	require.NoError(t, err)
	s := NewDefaultService(client, "test")
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s.scope().context(t.Context()), s, server
}

func taskIs(status tasktypes.Status) *tasks.GetResponse {
	return &tasks.GetResponse{Process: &tasktypes.Process{ID: "a", Pid: 7, Status: status}}
}

func TestWaitReturnsTheExitCode(t *testing.T) {
	ctx, s, server := mocked(t)
	at := time.Unix(1000, 0).UTC()
	server.Tasks.EXPECT().Wait(mock.Anything, mock.Anything).
		Return(&tasks.WaitResponse{ExitStatus: 255, ExitedAt: timestamppb.New(at)}, nil).Once()

	got, err := s.waitExit(ctx, waited{containerID: "a"})

	require.NoError(t, err)
	assert.Equal(t, exit{code: 255, at: at}, got)
}

func TestWaitNeverTakesALostConnectionForAnExit(t *testing.T) {
	ctx, s, server := mocked(t)
	var waits atomic.Int32
	waiting := make(chan struct{}, 2)
	server.Tasks.EXPECT().Wait(mock.Anything, mock.Anything).
		RunAndReturn(func(ctx context.Context, _ *tasks.WaitRequest) (*tasks.WaitResponse, error) {
			waiting <- struct{}{}
			if waits.Add(1) == 1 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return &tasks.WaitResponse{ExitStatus: 3}, nil
		})
	server.Tasks.EXPECT().Get(mock.Anything, mock.Anything).Return(taskIs(tasktypes.Status_RUNNING), nil)

	w := s.startWait(ctx, "a", "")
	defer w.stop()
	<-waiting
	server.Cut()
	select {
	case <-w.done:
		t.Fatalf("the wait ended with %v, %v while the daemon was away", w.exit, w.err)
	case <-time.After(200 * time.Millisecond):
	}
	server.Restore()
	got, err := w.result(ctx)

	require.NoError(t, err)
	assert.EqualValues(t, 3, got.code)
}

func TestWaitTakesAnExitDuringTheLossFromTheState(t *testing.T) {
	ctx, s, server := mocked(t)
	server.Tasks.EXPECT().Wait(mock.Anything, mock.Anything).Return(nil, status.Error(codes.Unavailable, "gone away")).Once()
	stopped := taskIs(tasktypes.Status_STOPPED)
	stopped.Process.ExitStatus = 9
	server.Tasks.EXPECT().Get(mock.Anything, mock.Anything).Return(stopped, nil).Once()

	got, err := s.waitExit(ctx, waited{containerID: "a"})

	require.NoError(t, err)
	assert.EqualValues(t, 9, got.code)
}

func TestWaitForATaskThatIsGone(t *testing.T) {
	notFound := status.Error(codes.NotFound, "no such task")
	t.Run("from the list too", func(t *testing.T) {
		ctx, s, server := mocked(t)
		server.Tasks.EXPECT().Wait(mock.Anything, mock.Anything).Return(nil, notFound).Once()
		server.Tasks.EXPECT().List(mock.Anything, mock.Anything).Return(&tasks.ListTasksResponse{}, nil).Once()
		got, err := s.waitExit(ctx, waited{containerID: "a"})
		require.NoError(t, err)
		assert.True(t, got.gone)
	})
	t.Run("once the daemon is back to say so", func(t *testing.T) {
		ctx, s, server := mocked(t)
		server.Tasks.EXPECT().Wait(mock.Anything, mock.Anything).Return(nil, notFound).Once()
		server.Tasks.EXPECT().List(mock.Anything, mock.Anything).Return(nil, status.Error(codes.Unavailable, "gone away")).Times(3)
		server.Tasks.EXPECT().List(mock.Anything, mock.Anything).Return(&tasks.ListTasksResponse{}, nil).Once()
		got, err := s.waitExit(ctx, waited{containerID: "a"})
		require.NoError(t, err)
		assert.True(t, got.gone)
	})
	t.Run("while the daemon stays away", func(t *testing.T) {
		ctx, s, server := mocked(t)
		ctx, cancel := context.WithCancel(ctx)
		server.Tasks.EXPECT().Wait(mock.Anything, mock.Anything).Return(nil, notFound).Once()
		server.Tasks.EXPECT().List(mock.Anything, mock.Anything).RunAndReturn(
			func(context.Context, *tasks.ListTasksRequest) (*tasks.ListTasksResponse, error) {
				cancel()
				return nil, status.Error(codes.Unavailable, "gone away")
			}).Once()
		_, err := s.waitExit(ctx, waited{containerID: "a"})
		require.ErrorIs(t, err, context.Canceled)
	})
	t.Run("and nobody can say", func(t *testing.T) {
		ctx, s, server := mocked(t)
		server.Tasks.EXPECT().Wait(mock.Anything, mock.Anything).Return(nil, notFound).Once()
		server.Tasks.EXPECT().List(mock.Anything, mock.Anything).Return(nil, status.Error(codes.PermissionDenied, "no")).Once()
		_, err := s.waitExit(ctx, waited{containerID: "a"})
		assert.True(t, errdefs.IsPermissionDenied(err), "%v", err)
	})
	t.Run("but is listed without a record", func(t *testing.T) {
		ctx, s, server := mocked(t)
		server.Tasks.EXPECT().Wait(mock.Anything, mock.Anything).Return(nil, notFound).Once()
		server.Tasks.EXPECT().Get(mock.Anything, mock.Anything).Return(nil, notFound).Once()
		server.Tasks.EXPECT().List(mock.Anything, mock.Anything).Return(&tasks.ListTasksResponse{
			Tasks: []*tasktypes.Process{{ID: "a", Status: tasktypes.Status_RUNNING}},
		}, nil).Once()
		_, err := s.waitExit(ctx, waited{containerID: "a"})
		assert.True(t, errdefs.IsFailedPrecondition(err), "%v", err)
	})
}

func TestWaitGivesUpOnAnErrorThatStays(t *testing.T) {
	ctx, s, server := mocked(t)
	s.clock = quickClock{}
	server.Tasks.EXPECT().Wait(mock.Anything, mock.Anything).Return(nil, status.Error(codes.Unknown, "boom")).Times(waitFailures)
	server.Tasks.EXPECT().Get(mock.Anything, mock.Anything).Return(taskIs(tasktypes.Status_RUNNING), nil)

	_, err := s.waitExit(ctx, waited{containerID: "a"})

	assert.True(t, errdefs.IsInternal(err), "%v", err)
}

func TestWaitEndsWithItsContext(t *testing.T) {
	ctx, s, server := mocked(t)
	server.Tasks.EXPECT().Wait(mock.Anything, mock.Anything).
		RunAndReturn(func(ctx context.Context, _ *tasks.WaitRequest) (*tasks.WaitResponse, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}).Maybe()
	w := s.startWait(ctx, "a", "")
	w.stop()
	assert.ErrorIs(t, w.err, context.Canceled)
}

func TestAShimsSilenceIsNotTheCallersDeadline(t *testing.T) {
	ctx, s, server := mocked(t)
	server.Tasks.EXPECT().Get(mock.Anything, mock.Anything).Return(nil, status.Error(codes.DeadlineExceeded, "context deadline exceeded")).Once()

	_, err := s.process(ctx, "a", "")

	require.True(t, errdefs.IsUnavailable(err), "%v", err)
	assert.NotErrorIs(t, err, context.DeadlineExceeded)
}
