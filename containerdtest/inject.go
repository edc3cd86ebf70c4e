package containerdtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"google.golang.org/grpc"
)

// ErrCutConnection is what a function given to [Fake.Inject] returns to cut
// every connection to the daemon, which all requests on them see as
// unavailable. The clients connect anew by themselves.
var ErrCutConnection = fmt.Errorf("connection cut: %w", errdefs.ErrUnavailable)

// Op is a request to the fake's daemon, at one of two moments.
type Op struct {
	// Service and Method name the request, as in "Tasks" and "Kill": the last
	// part of the gRPC service's name, and the method's.
	Service, Method string
	// Namespace is the containerd namespace of the request.
	Namespace string
	// Request is the message, such as *tasks.KillRequest; nil for streams.
	Request any
	// After is false before the request does anything, and true when it has
	// taken effect and its answer is about to go out.
	After bool

	ctx context.Context
}

// String returns the name, as in "Tasks/Kill".
func (op Op) String() string { return op.Service + "/" + op.Method }

// Context returns the request's context, for functions that wait. It ends when
// the caller gives up or the connection is lost.
func (op Op) Context() context.Context { return op.ctx }

// Inject calls fault before and after every request to the daemon. An error
// that it returns is the request's answer, with its errdefs class; with
// [ErrCutConnection] there is no answer. It may wait, to delay the request. A
// request that failed by itself is not told again. Nil ends the injection;
// there is one function at a time. fault must be safe for concurrent use.
func (f *Fake) Inject(fault func(Op) error) {
	f.intercept.set(fault)
}

// interceptors show all requests to the injected function and to the clock.
type interceptors struct {
	clock *virtualClock
	cut   func()

	mu    sync.Mutex
	fault func(Op) error
}

// set makes fault the one injected function, and says whether there was one.
func (i *interceptors) set(fault func(Op) error) (replaced bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	replaced = i.fault != nil
	i.fault = fault
	return replaced
}

// at runs the injected function.
func (i *interceptors) at(ctx context.Context, method string, request any, after bool) error {
	i.clock.changed()
	i.mu.Lock()
	fault := i.fault
	i.mu.Unlock()
	if fault == nil {
		return nil
	}
	service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	ns, _ := namespaces.Namespace(ctx)
	err := fault(Op{
		Service: service[strings.LastIndexByte(service, '.')+1:], Method: name,
		Namespace: ns, Request: request, After: after, ctx: ctx,
	})
	if errors.Is(err, ErrCutConnection) {
		i.cut()
	}
	return errgrpc.ToGRPC(err)
}

func (i *interceptors) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	ctx = withoutLog(ctx)
	if err := i.at(ctx, info.FullMethod, req, false); err != nil {
		return nil, err
	}
	answer, err := handler(ctx, req)
	if err == nil {
		err = i.at(ctx, info.FullMethod, req, true)
	}
	i.clock.changed()
	return answer, err
}

func (i *interceptors) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	stream = quietStream{stream, withoutLog(stream.Context())}
	if err := i.at(stream.Context(), info.FullMethod, nil, false); err != nil {
		return err
	}
	err := handler(srv, stream)
	if err == nil {
		err = i.at(stream.Context(), info.FullMethod, nil, true)
	}
	i.clock.changed()
	return err
}

type quietStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context returns the request's context, without containerd's log.
func (s quietStream) Context() context.Context { return s.ctx }
