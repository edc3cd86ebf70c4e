package wait

import (
	"context"
	"net"
	"time"
)

// Port is the condition of [ForPort].
type Port struct {
	address  string
	interval time.Duration
}

// ForPort waits until something accepts TCP connections at an address, host and
// port. It is dialled from this program, as clients of the container would: with
// the host's network that is the loopback address, else one that is routed or
// forwarded to the container. Nothing can be dialled inside a container's own
// network from here; a program in the container can, with [ForExec]. What
// forwards ports can accept connections before the container does.
//
// The task is not looked at: an address that nobody will ever listen at is
// waited for until ctx ends. Join it with another strategy by [Any] to notice
// that the task has ended.
func ForPort(address string) Port { return Port{address: address} }

// WithPollInterval returns the strategy with another time between two attempts.
func (p Port) WithPollInterval(d time.Duration) Port { p.interval = d; return p }

// Wait implements [Strategy].
func (p Port) Wait(ctx context.Context, _ Target) error {
	return poll(ctx, "port "+p.address, p.interval, func(ctx context.Context) error {
		if _, _, err := net.SplitHostPort(p.address); err != nil {
			return invalidAddress(err)
		}
		// An address that drops packets would answer no attempt for minutes.
		attempt, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		var dialer net.Dialer
		conn, err := dialer.DialContext(attempt, "tcp", p.address)
		if err != nil {
			return notYet("%w", err)
		}
		return conn.Close()
	})
}

// dialTimeout bounds one attempt.
const dialTimeout = 5 * time.Second
