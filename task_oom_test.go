package containerd

import (
	"testing"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	"github.com/stretchr/testify/assert"
)

// On version 1 of cgroups the event comes before the kill, when the count is
// still the one from before the watch.
func TestWatchOOMKnowsWhatWasKilledBefore(t *testing.T) {
	for what, opts := range map[string]*WatchOOMOptions{"all": nil, "one": {ContainerID: "web"}} {
		m := newMeasured(t)
		m.mu.Lock()
		m.stats = &v1.Metrics{MemoryOomControl: &v1.MemoryOomControl{OomKill: 2}}
		m.mu.Unlock()
		kills, _ := m.watch(m.service(), opts)
		m.oom("web", 2, 0)
		m.oom("web", 3, 0)
		got := received(t, kills)
		assert.EqualValues(t, 3, got.Kills, what)
		m.oom("web", 4, 0)
		assert.EqualValues(t, 4, received(t, kills).Kills, "once: %s", what)
	}
}

// A task can be replaced before its deletion is reported to anybody.
func TestWatchOOMOfATaskThatCountsAnew(t *testing.T) {
	m := newMeasured(t)
	m.mu.Lock()
	m.stats = &v1.Metrics{MemoryOomControl: &v1.MemoryOomControl{OomKill: 7}}
	m.mu.Unlock()
	kills, _ := m.watch(m.service(), nil)
	m.oom("web", 1, 0)
	assert.EqualValues(t, 1, received(t, kills).Kills)
}
