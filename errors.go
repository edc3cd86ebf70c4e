package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"google.golang.org/grpc/status"
)

// ErrInvalidArgument is wrapped by every error that rejects a caller's input.
// It is errdefs' own value, so errdefs.IsInvalidArgument works as well.
var ErrInvalidArgument error = errdefs.ErrInvalidArgument

// ErrTaskStopTimeout is wrapped by the error of [Service.StopTask] when the
// task is still running after its timeout. errdefs.IsDeadlineExceeded is true
// for it, but it is not context.DeadlineExceeded: the caller's context did not end.
var ErrTaskStopTimeout error = stopTimeoutError{}

type stopTimeoutError struct{}

func (stopTimeoutError) Error() string     { return "timeout waiting for task to stop" }
func (stopTimeoutError) DeadlineExceeded() {}

// Error reports a failed operation on one object. It keeps the class of its
// cause: test it with the errdefs predicates, and with errors.Is for context
// errors. An error that containerd left without a class is errdefs.ErrInternal.
type Error struct {
	Op  string // what was attempted, for example "stop task"
	ID  string // container ID, image reference or snapshot key; may be empty
	Err error  // cause
}

// Error returns the operation, the quoted ID if there is one, and the cause.
func (e *Error) Error() string {
	if e.ID == "" {
		return e.Op + ": " + e.Err.Error()
	}
	return e.Op + " " + quoted(e.ID) + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// opError is the one way out of every method: it returns nil for nil, and
// otherwise an *Error whose cause has a class. An error without one that comes
// from a ended context counts as that context's error.
func opError(ctx context.Context, op, id string, err error) error {
	if err == nil {
		return nil
	}
	err = native(err)
	switch cause := contextEnd(ctx); {
	case cause == nil || errors.Is(err, cause):
	case isContextError(err): // that of a request which outlived ctx
		err = fmt.Errorf("%w: %s", cause, err.Error())
	case blursContextEnd(err):
		err = fmt.Errorf("%w: %w", cause, err)
	}
	return &Error{Op: op, ID: id, Err: err}
}

// blursContextEnd says whether err is one of those that a request cut short by
// its context can end in.
func blursContextEnd(err error) bool {
	return errdefs.IsUnavailable(err) || errdefs.IsInternal(err) || errdefs.IsAborted(err)
}

// contextEnd returns ctx's error, also in the moment between its deadline and
// its own notice of that, in which the daemon and the connection act on it.
func contextEnd(ctx context.Context) error {
	if end, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(end) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

func isContextError(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// native returns err with an errdefs class: a raw gRPC status is converted, a
// registry's answer and the usual system errors are recognised, and everything
// else is internal.
func native(err error) error {
	if err == nil || hasClass(err) {
		return err
	}
	if _, ok := status.FromError(err); ok {
		if err = errgrpc.ToNative(err); hasClass(err) {
			return err
		}
	}
	if class := systemClass(err); class != nil {
		return &classedError{err: err, class: class}
	}
	if errors.Is(err, errdefs.ErrUnknown) {
		// An error with two classes would contradict itself: keep the text only.
		text := strings.TrimSuffix(err.Error(), ": "+errdefs.ErrUnknown.Error())
		return &classedError{err: errors.New(text), class: textClass(text)}
	}
	return &classedError{err: err, class: errdefs.ErrInternal}
}

// textClass recognises a connection that was lost while containerd's client wrote
// content: of that only the text is left.
func textClass(text string) error {
	if strings.HasSuffix(text, ": "+io.EOF.Error()) {
		return errdefs.ErrUnavailable
	}
	return errdefs.ErrInternal
}

func hasClass(err error) bool {
	if isContextError(err) || errors.Is(err, ErrTaskStopTimeout) {
		return true
	}
	return !errors.Is(errdefs.Resolve(err), errdefs.ErrUnknown)
}

// systemClass finds the class of errors that do not come from containerd.
func systemClass(err error) error {
	var unexpected remoteerrors.ErrUnexpectedStatus
	if errors.As(err, &unexpected) {
		return httpClass(unexpected.StatusCode)
	}
	var netErr net.Error
	switch {
	case errors.Is(err, docker.ErrInvalidAuthorization):
		return errdefs.ErrUnauthenticated
	case errors.As(err, &netErr) && !isErrno(netErr), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errdefs.ErrUnavailable
	case errors.Is(err, fs.ErrPermission):
		return errdefs.ErrPermissionDenied
	case errors.Is(err, fs.ErrNotExist):
		return errdefs.ErrNotFound
	case errors.Is(err, fs.ErrExist):
		return errdefs.ErrAlreadyExists
	}
	return nil
}

// isErrno tells a bare system error, which has the methods of a net.Error, from
// one that a network operation wraps.
func isErrno(err net.Error) bool {
	_, bare := err.(syscall.Errno) //nolint:errorlint // what is wrapped is another case
	return bare
}

// httpClass gives the class of a registry's answer.
func httpClass(code int) error {
	switch {
	case code == http.StatusUnauthorized:
		return errdefs.ErrUnauthenticated
	case code == http.StatusForbidden:
		return errdefs.ErrPermissionDenied
	case code == http.StatusNotFound:
		return errdefs.ErrNotFound
	case code == http.StatusTooManyRequests:
		return errdefs.ErrResourceExhausted
	case code >= http.StatusInternalServerError:
		return errdefs.ErrUnavailable
	}
	return errdefs.ErrInternal
}

// classedError gives a class to an error that has none, without changing its text.
type classedError struct {
	err   error
	class error
}

func (e *classedError) Error() string   { return e.err.Error() }
func (e *classedError) Unwrap() []error { return []error{e.err, e.class} }
