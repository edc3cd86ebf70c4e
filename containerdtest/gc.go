package containerdtest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/pkg/gc"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/plugin"
)

const (
	schedulerPlugin = "io.containerd.gc.v1.scheduler"
	// linger is how much longer than the daemon its scheduler lives. Each change
	// that it is told of comes by a goroutine of its own, which waits for the
	// scheduler, for ever if that is gone, and may just have been made.
	linger = 100 * time.Millisecond
)

var errEnding = errors.New("the fake's daemon ends")

// collector lets no garbage collection begin when the daemon ends, or go on
// after that. One that is interrupted leaves a goroutine for good.
type collector struct {
	*metadata.DB

	collecting sync.Mutex
	ending     atomic.Bool
}

// RegisterMutationCallback lets the scheduler know of changes, until the end.
func (c *collector) RegisterMutationCallback(changed func(dirty bool)) {
	c.DB.RegisterMutationCallback(func(dirty bool) {
		if !c.ending.Load() {
			changed(dirty)
		}
	})
}

// GarbageCollect collects, unless the daemon ends.
func (c *collector) GarbageCollect(ctx context.Context) (gc.Stats, error) {
	c.collecting.Lock()
	defer c.collecting.Unlock()
	if c.ending.Load() {
		return nil, errEnding
	}
	return c.DB.GarbageCollect(ctx)
}

// end waits for a collection under way, and lets none begin any more.
func (c *collector) end() {
	c.ending.Store(true)
	c.collecting.Lock()
	c.collecting.Unlock() //nolint:staticcheck // it is only waited for
}

// collectedBy is containerd's scheduler, which collects through c.
func collectedBy(c *collector, shipped plugin.Registration) plugin.Registration {
	scheduler := shipped
	scheduler.InitFn = func(ic *plugin.InitContext) (any, error) {
		db, err := ic.GetSingle(plugins.MetadataPlugin)
		if err != nil {
			return nil, err
		}
		c.DB = db.(*metadata.DB)
		set := plugin.NewPluginSet()
		store := plugin.Registration{
			Type: plugins.MetadataPlugin, ID: "bolt",
			InitFn: func(*plugin.InitContext) (any, error) { return c, nil },
		}
		if err := set.Add(store.Init(plugin.NewContext(ic.Context, set, nil))); err != nil {
			return nil, err
		}
		ctx, cancel := context.WithCancel(context.WithoutCancel(ic.Context))
		context.AfterFunc(ic.Context, func() { time.AfterFunc(linger, cancel) })
		own := plugin.NewContext(ctx, set, ic.Properties)
		own.Config = ic.Config
		return shipped.InitFn(own)
	}
	return scheduler
}
