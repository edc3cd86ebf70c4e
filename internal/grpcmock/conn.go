package grpcmock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// Client returns a containerd client of the server. It has no default
// namespace, whatever opts say, and is closed when the test ends.
func (s *Server) Client(opts ...containerd.Opt) (*containerd.Client, error) {
	conn, err := s.Conn()
	if err != nil {
		return nil, err
	}
	client, err := containerd.NewWithConn(conn, opts...)
	if err != nil {
		return nil, fmt.Errorf("making the client: %w", err)
	}
	return client, nil
}

// Conn returns a connection to the server, which is closed when the test ends.
// It comes back soon after a Restore, unless opts say otherwise.
func (s *Server) Conn(opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	all := append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return s.memory.DialContext(ctx)
		}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 5 * time.Millisecond, Multiplier: 1.6, MaxDelay: 50 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}),
	}, opts...)
	conn, err := grpc.NewClient("passthrough:///memory", all...)
	if err != nil {
		return nil, fmt.Errorf("connecting to the mocks: %w", err)
	}
	s.t.Cleanup(func() {
		if err := conn.Close(); err != nil && status.Code(err) != codes.Canceled { // closed before
			s.t.Errorf("closing the connection: %v", err)
		}
	})
	return conn, nil
}

// Cut closes all connections, as a daemon that is killed does, and refuses new
// ones until Restore. Handlers in progress see their context end.
func (s *Server) Cut() {
	if err := s.conns.cut(); err != nil {
		s.t.Errorf("cutting the connections: %v", err)
	}
}

// Restore ends what Cut began.
func (s *Server) Restore() { s.conns.restore() }

// connections knows the open connections of all listeners.
type connections struct {
	mu      sync.Mutex
	open    map[net.Conn]struct{}
	refused bool
}

func (c *connections) listen(l net.Listener) net.Listener {
	return &listener{Listener: l, conns: c}
}

// add says whether the connection may be served.
func (c *connections) add(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused {
		return false
	}
	if c.open == nil {
		c.open = map[net.Conn]struct{}{}
	}
	c.open[conn] = struct{}{}
	return true
}

func (c *connections) cut() error {
	c.mu.Lock()
	open := c.open
	c.open, c.refused = nil, true
	c.mu.Unlock()
	var errs []error
	for conn := range open {
		if err := conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (c *connections) restore() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = false
}

type listener struct {
	net.Listener
	conns *connections
}

// Accept returns the next connection that is not refused.
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil || l.conns.add(conn) {
			return conn, err
		}
		if err := conn.Close(); err != nil {
			return nil, fmt.Errorf("refusing a connection: %w", err)
		}
	}
}
