package containerdtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"google.golang.org/grpc"
)

// interceptors show all requests to the injected function and to the clock.
type interceptors struct {
	clock *virtualClock
	cut   func()

	mu      sync.Mutex
	fault   func(Op) error
	running map[<-chan struct{}]string // calls of functions: when they end, and what they are told of
}

// set makes fault the one injected function, and says whether there was one.
func (i *interceptors) set(fault func(Op) error) (replaced bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	replaced = i.fault != nil
	i.fault = fault
	return replaced
}

// call runs the injected function, if there is one, and returns where its answer
// comes. It does so in a goroutine of its own, so that the end of the daemon,
// which waits for all requests, does not wait for a function that has asked for
// this end, or that waits for something that comes after it.
func (i *interceptors) call(op Op) <-chan error {
	i.mu.Lock()
	defer i.mu.Unlock()
	fault := i.fault
	if fault == nil {
		return nil
	}
	answered, returned := make(chan error, 1), make(chan struct{})
	if i.running == nil {
		i.running = make(map[<-chan struct{}]string)
	}
	i.running[returned] = op.String()
	go func() {
		answer := fmt.Errorf("the injected function ended its goroutine: %w", errdefs.ErrAborted)
		defer func() {
			answered <- answer
			i.mu.Lock()
			delete(i.running, returned)
			i.mu.Unlock()
			close(returned)
		}()
		answer = fault(op)
	}()
	return answered
}

// wait waits for the functions that still run, and returns the requests that
// they are told of if they go on for longer than limit.
func (i *interceptors) wait(limit time.Duration) (left []string) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		i.mu.Lock()
		running := maps.Clone(i.running)
		i.mu.Unlock()
		if len(running) == 0 {
			return nil
		}
		for returned := range running {
			select {
			case <-returned:
			case <-timer.C:
				return slices.Sorted(maps.Values(running))
			}
		}
	}
}

// life is the interceptors of one life of the daemon.
type life struct {
	*interceptors
	ending chan struct{} // closed when the daemon ends
}

// at lets the injected function say what becomes of a request.
func (l life) at(ctx context.Context, method string, request any, after bool) error {
	l.clock.changed()
	service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	ns, _ := namespaces.Namespace(ctx)
	answered := l.call(Op{
		Service: service[strings.LastIndexByte(service, '.')+1:], Method: name,
		Namespace: ns, Request: request, After: after, ctx: ctx,
	})
	if answered == nil {
		return nil
	}
	var err error
	select {
	case err = <-answered:
	case <-l.ending:
		err = ErrCutConnection // it is: the daemon's end has cut all of them
	}
	if errors.Is(err, ErrCutConnection) && !l.ended() {
		l.cut()
	}
	return errgrpc.ToGRPC(err)
}

// ended is whether the daemon ends. What is cut then is its successor's.
func (l life) ended() bool {
	select {
	case <-l.ending:
		return true
	default:
		return false
	}
}

func (l life) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	ctx = withoutLog(ctx)
	if err := l.at(ctx, info.FullMethod, req, false); err != nil {
		return nil, err
	}
	answer, err := handler(ctx, req)
	if err == nil {
		err = l.at(ctx, info.FullMethod, req, true)
	}
	l.clock.changed()
	return answer, err
}

func (l life) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	stream = quietStream{stream, withoutLog(stream.Context())}
	if err := l.at(stream.Context(), info.FullMethod, nil, false); err != nil {
		return err
	}
	err := handler(srv, stream)
	if err == nil {
		err = l.at(stream.Context(), info.FullMethod, nil, true)
	}
	l.clock.changed()
	return err
}

type quietStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context returns the request's context, without containerd's log.
func (s quietStream) Context() context.Context { return s.ctx }
