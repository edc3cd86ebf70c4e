package containerd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/containerd/v2/pkg/dialer"
	"github.com/containerd/errdefs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	// pingTimeout bounds the first contact in Open.
	pingTimeout = 3 * time.Second
	// maxBackoff bounds how long a lost connection waits before it dials again.
	maxBackoff = time.Second
	// reconnectGrace is how long a call waits for a lost connection to come
	// back: a local daemon that is up answers well within it.
	reconnectGrace = 250 * time.Millisecond
)

// Open connects to containerd, checks that the daemon answers, and returns a
// service that owns its connection: [DefaultService.Close] closes it.
//
// Without options it uses CONTAINERD_ADDRESS, else
// /run/containerd/containerd.sock, and CONTAINERD_NAMESPACE, else
// [DefaultNamespace]. New containers get Docker's default capabilities, no new
// privileges, masked paths and the default seccomp profile.
//
// It returns an unavailable error, which names the address, when no daemon
// answers within 3 seconds or before ctx ends, and an invalid-argument error
// for a namespace that containerd would refuse. After an error nothing is left
// open.
func Open(ctx context.Context, opts ...Option) (*DefaultService, error) {
	var cfg config
	for _, opt := range opts {
		opt(&cfg)
	}
	cfg.address = cmp.Or(cfg.address, os.Getenv("CONTAINERD_ADDRESS"), defaults.DefaultAddress)
	cfg.namespace = cmp.Or(cfg.namespace, os.Getenv("CONTAINERD_NAMESPACE"))
	const op = "open"
	address, err := socketPath(cfg.address)
	if err != nil {
		return nil, opError(ctx, op, cfg.address, err)
	}
	client, err := dial(address)
	if err != nil {
		return nil, opError(ctx, op, address, err)
	}
	s := newService(client, cfg)
	s.ownsConn = true
	if err := s.firstContact(ctx); err != nil {
		return nil, opError(ctx, op, address, errors.Join(err, s.Close()))
	}
	return s, nil
}

func (s *DefaultService) firstContact(ctx context.Context) error {
	if s.nsErr != nil {
		return s.nsErr
	}
	bounded, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	err := native(s.version(bounded))
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("no answer within %v: %w", pingTimeout, errdefs.ErrUnavailable)
	}
	return err
}

// socketPath makes address absolute, because gRPC takes a relative path for a
// host name.
func socketPath(address string) (string, error) {
	address = strings.TrimPrefix(address, "unix://")
	if err := checkText("address", address); err != nil {
		return "", err
	}
	return filepath.Abs(address)
}

func dial(address string) (*containerd.Client, error) {
	return containerd.New(address, containerd.WithDialOpts([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(connectParams()),
		grpc.WithContextDialer(dialer.ContextDialer),
	}))
}

func connectParams() grpc.ConnectParams {
	retry := backoff.DefaultConfig
	retry.BaseDelay = 50 * time.Millisecond
	retry.MaxDelay = maxBackoff
	return grpc.ConnectParams{Backoff: retry, MinConnectTimeout: pingTimeout}
}

// Client returns the underlying containerd client, for what this package does
// not cover. Contexts given to it need a namespace of their own. It is nil if
// the service was made with a nil client, and it is closed by Close only if
// the service came from [Open].
func (s *DefaultService) Client() *containerd.Client { return s.client }

// Namespace returns the namespace that every call acts in.
func (s *DefaultService) Namespace() string { return s.namespace }

// Ping asks the daemon for its version and reports whether it answered: nil,
// an unavailable error, or the context's error.
func (s *DefaultService) Ping(ctx context.Context) error {
	const op = "ping"
	ctx, err := s.begin(ctx)
	if err == nil {
		err = s.version(ctx)
	}
	return opError(ctx, op, "", err)
}

func (s *DefaultService) version(ctx context.Context) error {
	_, err := s.client.Version(ctx)
	return err
}

// Close waits for the clean-up of failed calls, at most 30 seconds, and
// releases what the service holds: idle registry connections, the streams of
// tasks started with UseStdio, attachments, and the connection to the daemon if
// the service came from [Open]. Calls after Close fail with a
// failed-precondition error; running containers and handles are not touched. It
// is idempotent. Its error says what was left behind, if anything.
func (s *DefaultService) Close() error {
	s.closeOnce.Do(func() {
		close(s.closed)
		s.watchers.close()
		s.closeErr = s.cleaner.close()
		s.registry.close()
		if s.ownsConn {
			s.closeErr = errors.Join(s.closeErr, s.client.Close())
		}
	})
	return s.closeErr
}

// begin checks that the service can make calls at all, and returns ctx in the
// service's scope. Every method starts with it, after validating its input.
func (s *DefaultService) begin(ctx context.Context) (context.Context, error) {
	switch {
	case s.client == nil:
		return ctx, fmt.Errorf("service has no client: %w", errdefs.ErrFailedPrecondition)
	case s.nsErr != nil:
		return ctx, s.nsErr
	case ctx.Err() != nil:
		return ctx, ctx.Err()
	}
	select {
	case <-s.closed:
		return ctx, errServiceClosed
	default:
	}
	s.wakeConnection(ctx)
	return withLogger(s.scope().context(ctx)), nil
}

// wakeConnection ends the back-off of a lost connection and waits briefly for
// it, so that the first call after a daemon's restart succeeds. A dial under
// way may have begun before the daemon was back: it too is waited for, and the
// one after it.
func (s *DefaultService) wakeConnection(ctx context.Context) {
	conn := s.conn()
	if conn == nil {
		return
	}
	switch conn.GetState() {
	case connectivity.TransientFailure:
		conn.ResetConnectBackoff()
	case connectivity.Connecting:
	default:
		return
	}
	ctx, cancel := context.WithTimeout(ctx, reconnectGrace)
	defer cancel()
	for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
		if !conn.WaitForStateChange(ctx, state) {
			return
		}
	}
}

// conn returns the client's gRPC connection, or nil if it has none.
func (s *DefaultService) conn() *grpc.ClientConn {
	conn, _ := s.client.Conn().(*grpc.ClientConn)
	return conn
}
