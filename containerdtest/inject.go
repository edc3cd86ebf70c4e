package containerdtest

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
)

// ErrCutConnection is what a function given to [Fake.Inject] returns to cut
// every connection to the daemon, which all requests on them see as
// unavailable. The clients connect anew by themselves.
var ErrCutConnection = fmt.Errorf("connection cut: %w", errdefs.ErrUnavailable)

// Op is a request to the fake's daemon, at one of two moments.
type Op struct {
	// Service and Method name the request, as in "Tasks" and "Kill": the last
	// part of the gRPC service's name, and the method's.
	Service, Method string
	// Namespace is the containerd namespace of the request.
	Namespace string
	// Request is the message, such as *tasks.KillRequest; nil for streams.
	Request any
	// After is false before the request does anything, and true when it has
	// taken effect and its answer is about to go out.
	After bool

	ctx context.Context
}

// String returns the name, as in "Tasks/Kill".
func (op Op) String() string { return op.Service + "/" + op.Method }

// Context returns the request's context, for functions that wait. It ends when
// the caller gives up, the connection is lost or the daemon ends.
func (op Op) Context() context.Context { return op.ctx }

// Inject calls fault before and after every request to the daemon, each time in
// a goroutine of its own. An error that it returns is the request's answer, with
// its errdefs class; with [ErrCutConnection] there is no answer. A request that
// failed by itself is not told again. Nil ends the injection; there is one
// function at a time. fault must be safe for concurrent use.
//
// fault may call any method of the fake. With [Fake.Crash] or
// [Fake.RestartDaemon] the daemon dies at exactly this request, which is cut
// whatever fault returns: before, it is not done; after, it has been.
//
// fault may wait, to delay the request, and must return when the context of its
// Op ends. The end of the daemon does not wait for it; that of the test does for
// five seconds, and then fails the test. If fault ends its goroutine, as
// t.FailNow does, the request fails as aborted.
func (f *Fake) Inject(fault func(Op) error) {
	f.intercept.set(fault)
}
