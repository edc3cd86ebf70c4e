package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"testing"
	"time"

	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestOpErrorOfNilIsNil(t *testing.T) {
	assert.NoError(t, opError(t.Context(), "op", "id", nil))
}

func TestOpErrorSaysOperationAndObject(t *testing.T) {
	err := opError(t.Context(), "stop task", "web-1", fmt.Errorf("x: %w", errdefs.ErrNotFound))
	assert.EqualError(t, err, `stop task "web-1": x: not found`)
	opErr, ok := errors.AsType[*Error](err)
	require.True(t, ok)
	assert.Equal(t, "stop task", opErr.Op)
	assert.Equal(t, "web-1", opErr.ID)
	assert.EqualError(t, opError(t.Context(), "ping", "", errdefs.ErrUnavailable), "ping: unavailable")
}

func TestNativeGivesEveryErrorAClass(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want error
	}{
		"native":                    {fmt.Errorf("x: %w", errdefs.ErrConflict), errdefs.ErrConflict},
		"gRPC not found":            {status.Error(codes.NotFound, "x"), errdefs.ErrNotFound},
		"wrapped gRPC":              {fmt.Errorf("y: %w", status.Error(codes.AlreadyExists, "x")), errdefs.ErrAlreadyExists},
		"gRPC deadline":             {status.Error(codes.DeadlineExceeded, "x"), context.DeadlineExceeded},
		"gRPC cancelled":            {status.Error(codes.Canceled, "x"), context.Canceled},
		"gRPC unknown":              {status.Error(codes.Unknown, "x"), errdefs.ErrInternal},
		"native unknown":            {fmt.Errorf("x: %w", errdefs.ErrUnknown), errdefs.ErrInternal},
		"no class":                  {errors.New("x"), errdefs.ErrInternal},
		"permission":                {fmt.Errorf("x: %w", fs.ErrPermission), errdefs.ErrPermissionDenied},
		"missing file":              {fmt.Errorf("x: %w", fs.ErrNotExist), errdefs.ErrNotFound},
		"existing file":             {fmt.Errorf("x: %w", fs.ErrExist), errdefs.ErrAlreadyExists},
		"dial":                      {&net.OpError{Op: "dial", Err: errors.New("refused")}, errdefs.ErrUnavailable},
		"cut short":                 {fmt.Errorf("x: %w", io.ErrUnexpectedEOF), errdefs.ErrUnavailable},
		"registry 401":              {remoteerrors.ErrUnexpectedStatus{StatusCode: 401}, errdefs.ErrUnauthenticated},
		"registry 403":              {remoteerrors.ErrUnexpectedStatus{StatusCode: 403}, errdefs.ErrPermissionDenied},
		"registry 404":              {remoteerrors.ErrUnexpectedStatus{StatusCode: 404}, errdefs.ErrNotFound},
		"registry 429":              {remoteerrors.ErrUnexpectedStatus{StatusCode: 429}, errdefs.ErrResourceExhausted},
		"registry 500":              {remoteerrors.ErrUnexpectedStatus{StatusCode: 500}, errdefs.ErrUnavailable},
		"registry's something else": {remoteerrors.ErrUnexpectedStatus{StatusCode: 418}, errdefs.ErrInternal},
	} {
		t.Run(name, func(t *testing.T) {
			err := native(test.err)
			assert.ErrorIs(t, err, test.want)
			assert.Equal(t, test.want, errdefs.Resolve(err), "first class found")
			assert.False(t, errdefs.IsUnknown(err), "unknown is no class")
		})
	}
}

func TestErrorOfAnEndedContextIsTheContextsError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, opError(ctx, "op", "", status.Error(codes.Unavailable, "closing")), context.Canceled)
	assert.NotErrorIs(t, opError(ctx, "op", "", errdefs.ErrNotFound), context.Canceled,
		"an answer that arrived is not the context's end")
}

// A request that outlives its call's context is cancelled in the end.
func TestErrorOfARequestThatOutlivedADeadlineIsTheDeadlines(t *testing.T) {
	err := opError(lateContext{t.Context()}, "op", "", fmt.Errorf("container: %w", context.Canceled))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.NotErrorIs(t, err, context.Canceled)
	assert.ErrorContains(t, err, "container: ")
}

func TestStopTimeoutIsADeadlineButNotTheContexts(t *testing.T) {
	err := opError(t.Context(), "stop task", "a", ErrTaskStopTimeout)
	assert.ErrorIs(t, err, ErrTaskStopTimeout)
	assert.True(t, errdefs.IsDeadlineExceeded(err))
	assert.NotErrorIs(t, err, context.DeadlineExceeded)
	assert.EqualError(t, ErrTaskStopTimeout, "timeout waiting for task to stop")
}

func TestErrInvalidArgumentIsErrdefsOwn(t *testing.T) {
	assert.Equal(t, errdefs.ErrInvalidArgument, ErrInvalidArgument)
	assert.EqualError(t, ErrInvalidArgument, "invalid argument")
}

// lateContext is one whose deadline has passed, which it has not noticed yet.
type lateContext struct{ context.Context }

func (lateContext) Deadline() (time.Time, bool) { return time.Now().Add(-time.Millisecond), true }

func TestOpErrorOfADeadlineThatItsContextHasNotNoticed(t *testing.T) {
	err := opError(lateContext{t.Context()}, "pull image", "x", errdefs.ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	err = opError(lateContext{t.Context()}, "pull image", "x", errdefs.ErrNotFound)
	assert.NotErrorIs(t, err, context.DeadlineExceeded, "a clear answer stays what it is")
}
