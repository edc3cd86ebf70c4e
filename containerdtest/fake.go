package containerdtest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/internal/seam"
)

// T is what this package needs of a test; *testing.T and *testing.B are such.
type T interface {
	Helper()
	Name() string
	TempDir() string
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// redial is how long a client waits at most before it dials a lost daemon again.
const redial = 20 * time.Millisecond

// Fake is a containerd in this process, and the service that works on it: all
// methods of containerd.Engine are the real ones of containerd.DefaultService,
// in the namespace "default". It is safe for concurrent use by multiple
// goroutines. The end of the test closes it.
type Fake struct {
	*containerd.DefaultService

	t         T
	dir       string
	clock     *virtualClock
	machine   *machine
	intercept *interceptors

	lifecycle sync.Mutex // held while the daemon is started or ended; taken before mu
	closed    bool       // the test has ended; guarded by lifecycle

	mu     sync.Mutex
	server *server             // nil while the daemon is away
	conns  map[net.Conn]func() // open ones of the clients, and what closes them
}

var _ containerd.Engine = (*Fake)(nil)

// Option changes what [New] makes.
type Option func(*Fake)

// WithVirtualTime lets the fake skip the time that a container's process is
// given and does not use: StopTask's timeouts, and sleeps of processes, while a
// call of the library waits for a process and all processes wait for something
// too (in [Proc.Sleep], in [Proc.NextSignal], for a child, or for another process
// of the container that reads or writes a pipe). A process that waits for
// anything else, such as a client that reads its output or gives it input, or a
// handler for a channel or for its context's end, holds time up, and then it
// passes as usual. A paused process does not.
//
// The calls are StopTask, WaitTask, ExecTask, the Wait of an Exec or of an
// Attachment, and what is built on them; not those of containerd's own handles,
// and not Logs, WatchMetrics or a strategy of package wait that polls. Every
// timer that is skipped to takes some milliseconds: a process that polls once a
// second takes a while for an hour.
//
// Without it time passes as usual, and [Fake.Advance] skips some. In no case is
// this the time of anything else: deadlines of contexts, bounds on requests and
// on output, garbage collection, leases and records have the machine's.
func WithVirtualTime() Option { return func(f *Fake) { f.clock.skips = true } }

// New starts a containerd in this process, without root and without a file
// outside the test's temporary directory, and returns it with the service that
// works on it. It fails the test if that does not work. At the end of the test
// everything that runs is killed and removed; handlers that do not return when
// their context ends hold the test up.
//
// For a service in another namespace use [Fake.Open]. One that you make from
// [Fake.NewClient] has neither the fake's clock nor its directories.
func New(t T, opts ...Option) *Fake {
	t.Helper()
	f := &Fake{t: t, clock: &virtualClock{}, conns: map[net.Conn]func(){}}
	f.machine = newMachine(t, f.clock)
	f.intercept = &interceptors{clock: f.clock, cut: f.cut}
	for _, opt := range opts {
		opt(f)
	}
	dir, err := os.MkdirTemp(t.TempDir(), "fake")
	if err != nil {
		t.Fatalf("making a directory for the fake: %v", err)
	}
	f.dir, f.machine.dir = dir, filepath.Join(dir, "tasks")
	t.Cleanup(f.close)
	f.Recover()
	f.DefaultService = f.Open("")
	return f
}

// Open returns a further service on the fake, with a connection of its own, in
// a namespace; "" means containerd.DefaultNamespace. The end of the test closes
// it.
func (f *Fake) Open(namespace string) *containerd.DefaultService {
	f.t.Helper()
	svc := containerd.NewDefaultService(f.NewClient(), namespace)
	seam.Configure(svc, seam.Settings{
		Clock: f.clock, StdioDir: filepath.Join(f.dir, "stdio"), LogDir: filepath.Join(f.dir, "logs"), Reach: reachLoopback,
	})
	f.t.Cleanup(func() {
		f.heal()
		if err := svc.Close(); err != nil {
			f.t.Errorf("closing the service: %v", err)
		}
	})
	return svc
}

// reachLoopback keeps a test from asking the Internet for an image whose name is
// misspelt.
func reachLoopback(host string) error {
	if local, err := docker.MatchLocalhost(host); local || err != nil {
		return err
	}
	return fmt.Errorf("the fake has no such image, and asks no registry but one on loopback; Fake.AddImage adds an image: %w", errdefs.ErrNotFound)
}

// NewClient returns a plain containerd client of the fake, to look at what the
// service has done. Its contexts need a namespace. The end of the test closes it.
//
// Do not give it to containerd.NewDefaultService: such a service does not have
// the fake's clock, so its timeouts are never virtual, and its FIFOs and logs go
// to the user's directories. [Fake.Open] makes a further service. Code that makes
// its own from a client is tested better by a function that takes the service.
func (f *Fake) NewClient() *client.Client {
	f.t.Helper()
	retry := backoff.Config{BaseDelay: time.Millisecond, Multiplier: 2, MaxDelay: redial}
	conn, err := grpc.NewClient("passthrough:///fake",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(f.dial),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: retry, MinConnectTimeout: time.Second}))
	if err != nil {
		f.t.Fatalf("connecting to the fake: %v", err)
	}
	c, err := client.NewWithConn(conn)
	if err != nil {
		f.t.Fatalf("making a client of the fake: %v", err)
	}
	f.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			f.t.Errorf("closing a client: %v", err)
		}
	})
	return c
}

// Advance lets d pass at once for everything that [WithVirtualTime] lists. It
// begins when all processes wait for something, and returns when those that it
// has woken wait again. It goes on without a process that does not wait for a
// second. A call that has not begun to wait yet waits for as long as it does
// without it.
func (f *Fake) Advance(d time.Duration) { f.clock.advance(d) }
