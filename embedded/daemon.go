package embedded

import (
	"context"
	"fmt"
	"sync"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
)

// ErrNoUserNamespace is what [Start] returns to a user other than root whom the
// system gives no user namespace. It is a failed-precondition error.
var ErrNoUserNamespace = fmt.Errorf("no user namespace: %w", errdefs.ErrFailedPrecondition)

// Daemon is a running private containerd. Its methods are safe for concurrent
// use by multiple goroutines. The caller must end it with [Daemon.Close] or
// [Daemon.Detach].
type Daemon struct {
	address   string
	pid       int
	temporary bool
	done      <-chan struct{}
	// stop ends the daemon and, unless detach is set, its containers.
	stop func(detach bool) error

	stopOnce sync.Once
	stopErr  error
}

// Start starts a private containerd in a child process and returns when it
// answers. The child is this very binary, executed again; so is the shim of
// every container. As root it runs like any containerd; as another user it runs
// in a user and a mount namespace of its own.
//
// Containers that an earlier daemon left running on the same Root (and State, if
// that was given) are adopted.
//
// It returns an invalid-argument error for an option that cannot be used, such
// as a State too long for a socket's path, a not-found error if the runtime
// binary does not exist, a failed-precondition error if Root is in use by
// another daemon or the system lacks what the daemon needs, such as user
// namespaces for a user other than root ([ErrNoUserNamespace]), an unavailable error if the child does
// not come up, and a not-implemented error on any system but Linux. When ctx
// ends first, Start returns its error. After an error no process and no
// temporary directory is left. ctx is not used once Start has returned.
//
// The daemon does not outlive the calling process: when that ends in any way
// without Close, the child ends too. It then takes the containers with it if
// Root is temporary, and leaves them running for the next Start if it is not.
func Start(ctx context.Context, opts *Options) (*Daemon, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("starting containerd: %w", err)
	}
	d, err := start(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("starting containerd: %w", err)
	}
	return d, nil
}

// Address returns the path of the daemon's gRPC socket. It stays the same as
// long as containers are left running on the daemon's Root.
func (d *Daemon) Address() string { return d.address }

// PID returns the process ID of the daemon.
func (d *Daemon) PID() int { return d.pid }

// Done returns a channel that is closed when the daemon's process has ended,
// for whatever reason.
func (d *Daemon) Done() <-chan struct{} { return d.done }

// Client returns a new client of the daemon, which the caller must close. It
// does not wait for the daemon.
func (d *Daemon) Client(opts ...client.Opt) (*client.Client, error) {
	c, err := client.New(d.address, opts...)
	if err != nil {
		return nil, fmt.Errorf("connecting to the embedded containerd: %w", err)
	}
	return c, nil
}

// Close kills every task, stops the daemon, unmounts what it mounted, and
// removes a temporary Root and State. In a Root that is kept, images, snapshots
// and container records stay. If the daemon was killed, Close does the same for
// what it left behind, unless another daemon has taken over Root. Close is
// idempotent, and does nothing after [Daemon.Detach]. Its error says what could
// not be stopped or removed.
func (d *Daemon) Close() error { return d.end(false) }

// Detach stops the daemon and leaves its containers running, for the next Start
// on the same Root to adopt. It returns a failed-precondition error, and does
// nothing, if Root is temporary. It is idempotent, and does nothing after
// [Daemon.Close].
func (d *Daemon) Detach() error { return d.end(true) }

func (d *Daemon) end(detach bool) error {
	if detach && d.temporary {
		return fmt.Errorf("detaching from containerd: root is temporary: %w", errdefs.ErrFailedPrecondition)
	}
	d.stopOnce.Do(func() {
		if err := d.stop(detach); err != nil {
			d.stopErr = fmt.Errorf("stopping containerd: %w", err)
		}
	})
	return d.stopErr
}
