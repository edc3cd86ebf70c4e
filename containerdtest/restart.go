package containerdtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/containerd/errdefs"
)

// RestartDaemon ends the daemon and starts it again on the same directory, as
// a crash and a new start of containerd do: every connection breaks, requests
// under way fail or are lost, everything stored is still there, and tasks run
// on. It may be called in a function given to [Fake.Inject].
func (f *Fake) RestartDaemon() {
	f.t.Helper()
	f.lifecycle.Lock()
	defer f.lifecycle.Unlock()
	f.report(f.stop(), f.start())
}

// Crash ends the daemon. Until [Fake.Recover] every request fails as
// unavailable. Processes run on, as they do without containerd. It may be called
// in a function given to [Fake.Inject].
func (f *Fake) Crash() {
	f.t.Helper()
	f.lifecycle.Lock()
	defer f.lifecycle.Unlock()
	f.report(f.stop(), nil)
}

// Recover starts the daemon that [Fake.Crash] has ended, on the same directory.
// It does nothing if the daemon is there.
func (f *Fake) Recover() {
	f.t.Helper()
	f.lifecycle.Lock()
	defer f.lifecycle.Unlock()
	f.report(nil, f.start())
}

// report fails the test if the daemon did not end or start well.
func (f *Fake) report(stop, start error) {
	f.t.Helper()
	if stop != nil {
		f.t.Errorf("ending the fake's daemon: %v", stop)
	}
	if start != nil {
		f.t.Fatalf("starting the fake's daemon: %v", start)
	}
}

// start starts the daemon if it is away and the test goes on. The caller holds
// f.lifecycle.
func (f *Fake) start() error {
	if f.closed || f.current() != nil {
		return nil
	}
	s, err := startServer(context.Background(), f.dir, f.machine, f.intercept)
	if err != nil {
		return err
	}
	f.replace(s)
	return nil
}

// stop ends the daemon if it is there. The caller holds f.lifecycle.
func (f *Fake) stop() error {
	s := f.current()
	if s == nil {
		return nil
	}
	f.replace(nil)
	f.cut()
	return s.stop(f.machine)
}

func (f *Fake) current() *server {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.server
}

func (f *Fake) replace(s *server) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.server = s
}

// dial connects a client to the daemon, if it is there.
func (f *Fake) dial(ctx context.Context, _ string) (net.Conn, error) {
	s := f.current()
	if s == nil {
		return nil, fmt.Errorf("the fake's daemon is away: %w", errdefs.ErrUnavailable)
	}
	conn, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	return f.track(s, conn)
}

// track makes a connection to s one that cut closes, unless s has ended meanwhile.
func (f *Fake) track(s *server, conn net.Conn) (net.Conn, error) {
	c := &clientConn{Conn: conn, fake: f}
	f.mu.Lock()
	current := f.server == s
	if current {
		f.conns[c] = c.end
	}
	f.mu.Unlock()
	if !current {
		return nil, errors.Join(fmt.Errorf("the fake's daemon has ended: %w", errdefs.ErrUnavailable), conn.Close())
	}
	return c, nil
}

// cut closes all connections.
func (f *Fake) cut() {
	f.mu.Lock()
	ends := make([]func(), 0, len(f.conns))
	for _, end := range f.conns {
		ends = append(ends, end)
	}
	f.mu.Unlock()
	for _, end := range ends {
		end()
	}
}

type clientConn struct {
	net.Conn
	fake *Fake
	once sync.Once
	err  error
}

// Close closes the connection. It is idempotent.
func (c *clientConn) Close() error {
	c.once.Do(func() {
		c.fake.mu.Lock()
		delete(c.fake.conns, c)
		c.fake.mu.Unlock()
		c.err = c.Conn.Close()
	})
	return c.err
}

func (c *clientConn) end() { ignore(c.Close()) }
