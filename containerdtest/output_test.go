package containerdtest_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// received returns what comes from a channel, or ends the test.
func received[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	limit := time.NewTimer(testLimit)
	defer limit.Stop()
	select {
	case v := <-c:
		return v
	case <-limit.C:
		require.FailNow(t, "nothing came")
		panic("unreachable")
	}
}

// output collects what is written to it.
type output struct {
	mu      sync.Mutex
	written *sync.Cond
	text    []byte
}

func newOutput() *output {
	o := &output{}
	o.written = sync.NewCond(&o.mu)
	return o
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, b...)
	o.written.Broadcast()
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

// await waits until text was written, or for the test's end.
func (o *output) await(t *testing.T, text string) {
	t.Helper()
	found := make(chan struct{})
	go func() {
		defer close(found)
		o.mu.Lock()
		defer o.mu.Unlock()
		for !strings.Contains(string(o.text), text) {
			o.written.Wait()
		}
	}()
	received(t, found)
}
