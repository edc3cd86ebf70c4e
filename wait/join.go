package wait

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ctrdkit/containerd"
)

// All waits for all conditions at once. The first one that fails ends the
// others, and its error is the result. No conditions hold at once.
func All(strategies ...Strategy) Strategy { return all(strategies) }

type all []Strategy

// Wait implements [Strategy].
func (a all) Wait(ctx context.Context, target Target) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var first error
	each(ctx, target, a, func(err error) {
		if err != nil && first == nil {
			first = err
			cancel()
		}
	})
	return first
}

// Any waits for any of the conditions. The first one that holds ends the others.
// If all fail, the error has all of theirs; its class is that of the last one.
// There must be one at least.
func Any(strategies ...Strategy) Strategy { return anyOf(strategies) }

type anyOf []Strategy

// Wait implements [Strategy].
func (a anyOf) Wait(ctx context.Context, target Target) error {
	const name = "any condition"
	if len(a) == 0 {
		return &Error{Strategy: name, Err: fmt.Errorf("there is none: %w", containerd.ErrInvalidArgument)}
	}
	bounded, cancel := context.WithCancel(ctx)
	defer cancel()
	var held bool
	var failed []error
	each(bounded, target, a, func(err error) {
		switch {
		case err == nil:
			held = true
			cancel()
		case !held:
			failed = append(failed, err)
		}
	})
	switch {
	case held:
		return nil
	case ended(ctx) != nil:
		return &Error{Strategy: name, Err: ended(ctx), Last: errors.Join(failed...)}
	}
	last := failed[len(failed)-1]
	return &Error{Strategy: name, Err: last, Last: errors.Join(failed[:len(failed)-1]...)}
}

// each waits for all strategies at once, and reports each result, one after the other.
func each(ctx context.Context, target Target, strategies []Strategy, report func(error)) {
	var mu sync.Mutex
	var group sync.WaitGroup
	for _, s := range strategies {
		group.Go(func() {
			err := s.Wait(ctx, target)
			mu.Lock()
			defer mu.Unlock()
			report(err)
		})
	}
	group.Wait()
}
