package containerdtest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ctrdkit/containerd/internal/clock"
)

const hang = 30 * time.Second

func TestTimeIsSkippedOnceAProcessWaitsThoughNobodySaysSo(t *testing.T) {
	t.Parallel()
	looks := 0
	c := &virtualClock{skips: true, idle: func() bool { looks++; return looks > 3 }, gone: func(clock.Process) bool { return false }}
	defer c.stop()
	defer c.AwaitProcess(clock.Process{})()
	timer := c.newTimer(time.Hour, false)
	defer c.release(timer)
	select {
	case <-timer.elapsed:
	case <-time.After(hang):
		assert.Fail(t, "time stands still")
	}
}
