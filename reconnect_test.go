package containerd

import (
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
)

func TestServiceWorksAgainAfterTheDaemonCameBack(t *testing.T) {
	d := newDaemon(t)
	for name, s := range map[string]*DefaultService{
		"of Open":              openAt(t, WithAddress(d.serveSocket(t))),
		"on a caller's client": d.service(),
	} {
		t.Run(name, func(t *testing.T) {
			d.Cut()
			assertError(t, s.Ping(t.Context()), "ping", errdefs.IsUnavailable, "gone")
			d.Restore()
			start := time.Now()

			err := s.Ping(t.Context())
			for errdefs.IsUnavailable(err) && time.Since(start) < 2*time.Second {
				err = s.Ping(t.Context())
			}

			require.NoError(t, err, "within 2 s")
		})
	}
}

// A call finds the connection in a back-off that is far from over.
func TestCallEndsTheBackoffOfALostConnection(t *testing.T) {
	d := newDaemon(t)
	s := openAt(t, WithAddress(d.serveSocket(t)))
	d.Cut()
	// Fail often enough for a pause of a second between two attempts.
	for range 8 {
		require.Error(t, s.Ping(t.Context()))
	}
	conn := s.conn()
	for state := conn.GetState(); state != connectivity.TransientFailure; state = conn.GetState() {
		conn.Connect()
		require.True(t, conn.WaitForStateChange(t.Context(), state))
	}
	d.Restore()

	assert.NoError(t, s.Ping(t.Context()), "the first call succeeds")
}

func TestWakingAConnectionThatDoesNotComeBackTakesAMoment(t *testing.T) {
	d := newDaemon(t)
	s := openAt(t, WithAddress(d.serveSocket(t)))
	d.Cut()
	require.Error(t, s.Ping(t.Context()))
	start := time.Now()

	s.wakeConnection(t.Context())

	assert.Less(t, time.Since(start), reconnectGrace+2*time.Second)
	d.Restore()
}

// A call finds a dial under way that began before the daemon was back.
func TestCallOutlivesADialThatWasTooEarly(t *testing.T) {
	d := newDaemon(t)
	path := d.serveSocket(t)
	early := make(chan struct{})
	var dials atomic.Int32
	conn, err := grpc.NewClient("passthrough:///"+path,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(connectParams()),
		grpc.WithContextDialer(func(ctx context.Context, path string) (net.Conn, error) {
			if dials.Add(1) == 2 {
				close(early)
				<-time.After(20 * time.Millisecond) // how long it takes to fail
				return nil, syscall.ECONNREFUSED
			}
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	client, err := containerd.NewWithConn(conn)
	require.NoError(t, err)
	s := NewDefaultService(client, testNamespace)
	require.NoError(t, s.Ping(t.Context()))
	d.Cut()
	for state := conn.GetState(); state != connectivity.Idle; state = conn.GetState() {
		require.True(t, conn.WaitForStateChange(t.Context(), state))
	}
	d.Restore()
	conn.Connect()
	<-early

	assert.NoError(t, s.Ping(t.Context()), "the first call succeeds")
}
