package containerd

import (
	"context"
	"sync"
)

// watchers are the goroutines that end the streams of attached tasks, and the
// attachments.
type watchers struct {
	mu     sync.Mutex
	closed bool
	group  sync.WaitGroup
}

// start runs watch in a goroutine, or reports false once closed.
func (w *watchers) start(watch func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.group.Go(watch)
	return true
}

// close waits for the goroutines, which end when the service's closed channel is.
func (w *watchers) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.group.Wait()
}

// watch ends the streams of a started task when it has exited, its output has
// been read, and nobody has deleted it; or when the service is closed.
func (s *DefaultService) watch(st *streams) error {
	if s.watchers.start(func() { s.watchStreams(st) }) {
		return nil
	}
	return st.Close()
}

func (s *DefaultService) watchStreams(st *streams) {
	w := s.startWait(st.ctx, st.containerID, st.execID)
	select {
	case <-w.done:
		if w.err == nil {
			break
		}
		// Nobody can tell whether the task runs: its output does.
		select {
		case <-st.drained:
		case <-st.done:
		case <-s.closed:
		}
	case <-st.done:
	case <-s.closed:
	}
	w.stop()
	ctx, cancel := context.WithCancel(context.WithoutCancel(st.ctx))
	defer cancel()
	select {
	case <-s.closed:
		cancel() // what the task still writes has no reader from now on
	default:
	}
	if _, err := st.finish(ctx); err != nil {
		// A directory that can't be removed is swept by the next service.
		return
	}
}
