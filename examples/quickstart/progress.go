package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/content"

	"github.com/ctrdkit/containerd"
)

// pull pulls an image and shows how it gets on.
func pull(ctx context.Context, svc containerd.Engine, ref string) (string, error) {
	stop := showProgress(scoped(ctx, svc), svc.Client().ContentStore())
	image, err := svc.PullImage(ctx, ref, nil)
	stop()
	if err != nil {
		return "", err
	}
	bytes, err := image.Size(ctx)
	return size(bytes), err
}

// showProgress prints what is being fetched, until the function it returns is called.
func showProgress(ctx context.Context, store content.Store) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		var last string
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			statuses, err := store.ListStatuses(ctx)
			if err != nil {
				return // the pull tells what is wrong
			}
			if line := describe(statuses); line != last {
				fmt.Fprintln(os.Stderr, line)
				last = line
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

// describe sums up the transfers under way.
func describe(statuses []content.Status) string {
	if len(statuses) == 0 {
		return "  unpacking"
	}
	var offset, total int64
	for _, s := range statuses {
		offset += s.Offset
		total += s.Total
	}
	return fmt.Sprintf("  fetching %d blobs, %s of %s", len(statuses), size(offset), size(total))
}
