package containerd

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/connectivity"
)

// socketDir is a directory with a path that is short enough for sockets.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ctrd") //nolint:usetesting // t.TempDir is too long for a socket
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// serveSocket serves the daemon on a socket of its own and returns its path.
func (d *daemon) serveSocket(t *testing.T) string {
	t.Helper()
	path := filepath.Join(socketDir(t), "c.sock")
	d.Serve(listenUnix(t, path))
	return path
}

func listenUnix(t *testing.T, path string) net.Listener {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "unix", path)
	require.NoError(t, err)
	return l
}

// openAt opens a service, which must work and is closed when the test ends.
func openAt(t *testing.T, opts ...Option) *DefaultService {
	t.Helper()
	s, err := Open(t.Context(), opts...)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	require.NoError(t, s.Ping(t.Context()))
	return s
}

func TestOpenTakesTheAddressFromOptionThenEnvironment(t *testing.T) {
	d := newDaemon(t)
	path := d.serveSocket(t)
	nowhere := filepath.Join(socketDir(t), "none.sock")
	for name, test := range map[string]struct {
		env  string
		opts []Option
	}{
		"option":                    {"", []Option{WithAddress(path)}},
		"option before environment": {nowhere, []Option{WithAddress(path)}},
		"environment":               {path, nil},
		"last option of two":        {"", []Option{WithAddress(nowhere), WithAddress(path)}},
		"URL":                       {"", []Option{WithAddress("unix://" + path)}},
		"URL in the environment":    {"unix://" + path, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("CONTAINERD_ADDRESS", test.env)
			openAt(t, test.opts...)
		})
	}
}

func TestOpenMakesARelativePathAbsolute(t *testing.T) {
	d := newDaemon(t)
	path := d.serveSocket(t)
	t.Chdir(filepath.Dir(path))
	for _, address := range []string{"c.sock", "./c.sock", "unix://c.sock"} {
		t.Run(address, func(t *testing.T) { openAt(t, WithAddress(address)) })
	}
}

func TestSocketPath(t *testing.T) {
	for name, test := range map[string]struct{ given, want string }{
		"absolute":      {"/run/c.sock", "/run/c.sock"},
		"URL":           {"unix:///run/c.sock", "/run/c.sock"},
		"not canonical": {"/run/../run//c.sock", "/run/c.sock"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := socketPath(test.given)
			require.NoError(t, err)
			assert.Equal(t, test.want, got)
		})
	}
}

func TestOpenRefusesAnAddressThatIsNone(t *testing.T) {
	for _, address := range []string{"unix://", "/run/\x00", "/run/\xff"} {
		_, err := Open(t.Context(), WithAddress(address))
		assertError(t, err, "open", errdefs.IsInvalidArgument, "%q", address)
		assert.Contains(t, err.Error(), "address")
	}
}

func TestOpenTakesTheNamespaceFromOptionThenEnvironment(t *testing.T) {
	d := newDaemon(t)
	path := d.serveSocket(t)
	for name, test := range map[string]struct {
		env  string
		opts []Option
		want string
	}{
		"default":                   {"", nil, DefaultNamespace},
		"environment":               {"env", nil, "env"},
		"option before environment": {"env", []Option{WithNamespace("opt")}, "opt"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("CONTAINERD_NAMESPACE", test.env)
			s := openAt(t, append(test.opts, WithAddress(path))...)
			assert.Equal(t, test.want, s.Namespace())
			d.Reset()
			_, err := s.ListContainers(t.Context())
			require.NoError(t, err)
			require.Len(t, d.Calls(), 1)
			assert.Equal(t, test.want, d.Calls()[0].Namespace)
		})
	}
}

func TestOpenRefusesAnInvalidNamespaceWithoutARequest(t *testing.T) {
	d := newDaemon(t)
	path := d.serveSocket(t)
	_, err := Open(t.Context(), WithAddress(path), WithNamespace("a/b"))
	assertError(t, err, "open", errdefs.IsInvalidArgument, "namespace")
	assert.Contains(t, err.Error(), `namespace "a/b"`)
	assert.Empty(t, d.Calls())
}

func TestOpenWithoutADaemonIsUnavailableSoon(t *testing.T) {
	t.Parallel() // it takes its seconds
	path := filepath.Join(socketDir(t), "none.sock")
	start := time.Now()

	s, err := Open(t.Context(), WithAddress(path))

	assertError(t, err, "open", errdefs.IsUnavailable, "no daemon")
	assert.Contains(t, err.Error(), path)
	assert.Less(t, time.Since(start), pingTimeout+2*time.Second)
	assert.Nil(t, s)
}

// A socket that somebody listens on, but nobody serves.
func TestOpenOfADaemonThatNeverAnswers(t *testing.T) {
	t.Parallel() // it takes its seconds
	path := filepath.Join(socketDir(t), "c.sock")
	accepted := acceptOnly(t, listenUnix(t, path))
	start := time.Now()

	_, err := Open(t.Context(), WithAddress(path))

	assertError(t, err, "open", errdefs.IsUnavailable, "no answer")
	assert.NotErrorIs(t, err, context.DeadlineExceeded, "the caller's context did not end")
	assert.Contains(t, err.Error(), path)
	assert.Less(t, time.Since(start), pingTimeout+2*time.Second)
	awaitEnd(t, received(t, accepted))
}

func TestOpenEndsWithItsContext(t *testing.T) {
	path := filepath.Join(socketDir(t), "c.sock")
	accepted := acceptOnly(t, listenUnix(t, path))
	ctx, cancel := context.WithCancel(t.Context())
	done := async(func() error { _, err := Open(ctx, WithAddress(path)); return err })
	conn := received(t, accepted)
	cancel()

	err := received(t, done)

	assertError(t, err, "open", func(err error) bool { return errors.Is(err, context.Canceled) }, "cancelled")
	awaitEnd(t, conn)
}

// acceptOnly accepts connections and does nothing with them.
func acceptOnly(t *testing.T, l net.Listener) <-chan net.Conn {
	t.Helper()
	conns := make(chan net.Conn, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns <- conn
		}
	}()
	t.Cleanup(func() {
		assert.NoError(t, l.Close())
		<-done
	})
	return conns
}

// awaitEnd returns when the other side has closed the connection.
func awaitEnd(t *testing.T, conn net.Conn) {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	buf := make([]byte, 1<<10)
	for {
		if _, err := conn.Read(buf); err != nil {
			assert.False(t, os.IsTimeout(err), "the connection is still open")
			break
		}
	}
	assert.NoError(t, conn.Close())
}

func TestCloseClosesTheConnectionOnlyOfOpen(t *testing.T) {
	d := newDaemon(t)
	opened, err := Open(t.Context(), WithAddress(d.serveSocket(t)))
	require.NoError(t, err)
	conn := opened.conn()
	require.NoError(t, opened.Close())
	require.NoError(t, opened.Close(), "closing twice")
	assert.Equal(t, connectivity.Shutdown, conn.GetState())
	assertError(t, opened.Ping(t.Context()), "ping", errdefs.IsFailedPrecondition, "closed")

	given := NewDefaultService(d.client, testNamespace)
	require.NoError(t, given.Close())
	assertError(t, given.Ping(t.Context()), "ping", errdefs.IsFailedPrecondition, "closed")
	_, err = d.client.Version(t.Context())
	assert.NoError(t, err, "the client stays the caller's")
}
