package plugingraph

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/plugin"
	"github.com/containerd/ttrpc"
	"google.golang.org/grpc"
)

type grpcService interface {
	Register(*grpc.Server) error
}

type ttrpcService interface {
	RegisterTTRPC(*ttrpc.Server) error
}

// makeServers registers the started plugins' services with the two servers, as
// containerd's server plugins do.
func (g *Graph) makeServers(opts Options) error {
	var err error
	if g.ttrpc, err = ttrpc.NewServer(ttrpcOptions()...); err != nil {
		return err
	}
	unary := []grpc.UnaryServerInterceptor{passNamespaceUnary}
	if opts.Unary != nil {
		unary = append(unary, opts.Unary)
	}
	stream := []grpc.StreamServerInterceptor{passNamespaceStream}
	if opts.Stream != nil {
		stream = append(stream, opts.Stream)
	}
	g.grpc = grpc.NewServer(
		grpc.ChainUnaryInterceptor(unary...),
		grpc.ChainStreamInterceptor(stream...),
		grpc.WaitForHandlers(true),
		grpc.MaxRecvMsgSize(defaults.DefaultMaxRecvMsgSize),
		grpc.MaxSendMsgSize(defaults.DefaultMaxSendMsgSize),
	)
	for _, p := range g.order {
		if err := g.register(p); err != nil {
			return fmt.Errorf("registering the service of plugin %s: %w", p.Registration.URI(), err)
		}
	}
	return nil
}

func (g *Graph) register(p *plugin.Plugin) error {
	instance, err := p.Instance()
	if err != nil {
		return err
	}
	kind := p.Registration.Type
	if service, ok := instance.(grpcService); ok && kind == plugins.GRPCPlugin {
		if err := service.Register(g.grpc); err != nil {
			return err
		}
	}
	if service, ok := instance.(ttrpcService); ok && (kind == plugins.GRPCPlugin || kind == plugins.TTRPCPlugin) {
		return service.RegisterTTRPC(g.ttrpc)
	}
	return nil
}

// Serve serves the gRPC services on l until [Graph.Close], and then returns nil
// with l closed. It can be called for several listeners at once.
func (g *Graph) Serve(l net.Listener) error {
	if err := g.grpc.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serving gRPC: %w", err)
	}
	return nil
}

// ServeTTRPC serves the TTRPC services, with which shims publish events, on l
// until [Graph.Close], and then returns nil with l closed. On Linux only
// processes of the same user are served.
func (g *Graph) ServeTTRPC(l net.Listener) error {
	err := g.ttrpc.Serve(context.Background(), l)
	if err != nil && !errors.Is(err, ttrpc.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serving TTRPC: %w", err)
	}
	return nil
}

// withNamespace copies the namespace that came with a request to the requests
// made on its behalf.
func withNamespace(ctx context.Context) context.Context {
	if ns, ok := namespaces.Namespace(ctx); ok {
		return namespaces.WithNamespace(ctx, ns)
	}
	return ctx
}

func passNamespaceUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	return handler(withNamespace(ctx), req)
}

func passNamespaceStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return handler(srv, namespacedStream{ServerStream: stream, ctx: withNamespace(stream.Context())})
}

type namespacedStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context returns the stream's context, with the request's namespace passed on.
func (s namespacedStream) Context() context.Context { return s.ctx }
