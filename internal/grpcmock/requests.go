package grpcmock

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// errUnexpected ends a request that no expectation matches.
var errUnexpected = errors.New("unexpected request")

// Call is one request that reached the server.
type Call struct {
	Method    string // full name, for example "/containerd.services.containers.v1.Containers/Get"
	Namespace string // from the request's header; empty if there is none
}

// Hook sees a request before its mock does. An error is the answer to the
// request, and the mock does not see it. The hook may wait for ctx to end.
type Hook func(ctx context.Context, call Call) error

type recorder struct {
	mu    sync.Mutex
	calls []Call
	hook  Hook
}

func (r *recorder) add(call Call) Hook {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, call)
	return r.hook
}

// Calls returns the requests since the start or the last Reset, in the order
// in which they came, whether answered or not.
func (s *Server) Calls() []Call {
	s.requests.mu.Lock()
	defer s.requests.mu.Unlock()
	return slices.Clone(s.requests.calls)
}

// Reset forgets the requests so far.
func (s *Server) Reset() {
	s.requests.mu.Lock()
	defer s.requests.mu.Unlock()
	s.requests.calls = nil
}

// Inject makes every further request go through hook; nil takes it away.
func (s *Server) Inject(hook Hook) {
	s.requests.mu.Lock()
	defer s.requests.mu.Unlock()
	s.requests.hook = hook
}

func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	err = s.handle(ctx, info.FullMethod, func(hook func() error) error {
		if err := hook(); err != nil {
			return err
		}
		resp, err = next(ctx, req)
		return err
	})
	return resp, err
}

func (s *Server) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	return s.handle(stream.Context(), info.FullMethod, func(hook func() error) error {
		return next(srv, &hookedStream{ServerStream: stream, hook: sync.OnceValue(hook)})
	})
}

// hookedStream calls the hook once the first message has come: a client that is
// still sending it when the stream ends does not get to see the error.
type hookedStream struct {
	grpc.ServerStream
	hook func() error
}

func (h *hookedStream) RecvMsg(m any) error {
	if err := h.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	return h.hook()
}

// handle records a request and answers it with the hook's error or the mock's
// answer. Errors of errdefs become gRPC statuses, as the daemon makes them.
func (s *Server) handle(ctx context.Context, method string, answer func(hook func() error) error) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			s.t.Errorf("%s: %v", method, reason)
			err = status.Error(codes.Internal, fmt.Sprint(reason))
		}
	}()
	call := Call{Method: method}
	if values := metadata.ValueFromIncomingContext(ctx, namespaces.GRPCHeader); len(values) > 0 {
		call.Namespace = values[0]
	}
	hook := s.requests.add(call)
	return errgrpc.ToGRPC(answer(func() error {
		if hook == nil {
			return nil
		}
		return hook(ctx, call)
	}))
}

func unimplemented(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	return status.Errorf(codes.Unimplemented, "unknown method %s", method)
}
