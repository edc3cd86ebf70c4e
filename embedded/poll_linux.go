package embedded

import (
	"fmt"
	"time"

	"github.com/containerd/errdefs"
)

const (
	pollInterval = 5 * time.Millisecond
	pollTimeout  = 10 * time.Second
)

// poll calls done until it returns true or an error, for conditions that the
// kernel reports no change of.
func poll(done func() (bool, error)) error {
	deadline := time.NewTimer(pollTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return fmt.Errorf("no success within %v: %w", pollTimeout, errdefs.ErrUnavailable)
		}
	}
}
