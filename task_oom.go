package containerd

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"

	"github.com/ctrdkit/containerd/internal/cgroupstats"
)

const (
	topicOOM    = "/tasks/oom"
	topicDelete = "/tasks/delete"

	// oomLooks is how often the count of kills is looked at after an event: on
	// version 1 of cgroups the event comes before the kill.
	oomLooks = 5
	oomPause = 20 * time.Millisecond
)

// WatchOOMOptions says what [TaskMonitor.WatchOOM] watches. nil and the zero
// value are the same.
type WatchOOMOptions struct {
	// ContainerID is the container to watch. The default is all containers of the
	// namespace.
	ContainerID string
}

// OOMEvent says that the kernel has killed processes of a container for memory,
// or that such news may be missing.
type OOMEvent struct {
	// ContainerID is the container, "" with Gap.
	ContainerID string `json:"containerID"`
	// At is when the daemon was told.
	At time.Time `json:"at"`
	// Kills is how many processes of the task the kernel has killed for memory so
	// far, 0 where that is not known.
	Kills uint64 `json:"kills"`
	// Gap says that the connection to the daemon was lost and is back, as after a
	// restart of the daemon. containerd keeps no events: kills while it was lost
	// may be missing, of any watched container, and no later event makes up for
	// them before that container's next kill, whose Kills counts them. The count
	// of [TaskMonitor.TaskMetrics] has them, as long as the task is there.
	Gap bool `json:"gap,omitempty"`
}

// WatchOOM reports kills for memory as they happen, in one container or in all.
// Several kills in quick succession can be one event, and several events of the
// daemon about one kill are one. Where kills can't be counted, an event that
// follows another of the same container within a second is taken for the same.
//
// Kills are reported from the time on when the daemon knows of the watch, which
// is when the range has begun; the sequence has no end of its own. After a lost
// connection it goes on, with an event that has Gap set. WatchOOM does not find
// out what was killed meanwhile, in one container or in all: who has to know
// asks [TaskMonitor.TaskMetrics] for each of the tasks on a Gap, and compares
// the count with the last one known.
//
// The sequence is made anew each time it is ranged over. It ends with an error
// when it can't go on: invalid-argument, the daemon's, or ctx's when that ends.
// Nothing is left running when the range is left.
func (s *DefaultService) WatchOOM(ctx context.Context, opts *WatchOOMOptions) iter.Seq2[OOMEvent, error] {
	const op = "watch for kills"
	if opts == nil {
		opts = &WatchOOMOptions{}
	}
	id := opts.ContainerID
	return func(yield func(OOMEvent, error) bool) {
		var err error
		if id != "" {
			err = checkID("ContainerID", id)
		}
		ctx := ctx
		if err == nil {
			ctx, err = s.begin(ctx)
		}
		if err == nil {
			w := &oomWatch{service: s, id: id, seen: map[string]oomCount{}, yield: func(e OOMEvent) bool { return yield(e, nil) }}
			err = w.run(ctx)
		}
		if err != nil {
			yield(OOMEvent{}, opError(ctx, op, id, err))
		}
	}
}

// oomWatch is one range over the kills.
type oomWatch struct {
	service *DefaultService
	id      string // "" means all
	seen    map[string]oomCount
	yield   func(OOMEvent) bool
}

// oomCount is what was last reported of a task.
type oomCount struct {
	kills uint64 // 0: not known
	at    time.Time
}

// run returns nil when no more events are wanted.
func (w *oomWatch) run(ctx context.Context) error {
	s := w.service
	pause, first := waitPause, true
	w.count(ctx)
	for {
		sub, err := s.subscribe(ctx, topicOOM, topicDelete)
		if err == nil {
			if !first && !w.yield(OOMEvent{At: s.clock.Now(), Gap: true}) {
				sub.stop()
				return nil
			}
			pause, first = waitPause, false
			var more bool
			more, err = w.watch(ctx, sub)
			sub.stop()
			if !more {
				return nil
			}
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case !errdefs.IsUnavailable(err), first:
			return err
		}
		if err := s.pause(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, maxWaitPause)
	}
}

// count takes note of the kills before the watch: an event that comes before its
// kill is not about them. Where they can't be counted, they count as none. It
// comes before the subscription, so that no kill is missed between the two.
func (w *oomWatch) count(ctx context.Context) {
	req := &tasks.MetricsRequest{}
	if w.id != "" {
		req.Filters = []string{"id==" + strconv.Quote(w.id)}
	}
	r, err := w.service.client.TaskService().Metrics(ctx, req)
	if err != nil {
		return
	}
	for _, metric := range r.GetMetrics() {
		stats, err := cgroupstats.Decode(metric.GetData().GetTypeUrl(), metric.GetData().GetValue())
		if err == nil && stats.OOMKills > 0 {
			w.seen[metric.GetID()] = oomCount{kills: stats.OOMKills}
		}
	}
}

// watch reports what a subscription brings, until it ends with an error.
func (w *oomWatch) watch(ctx context.Context, sub *subscription) (more bool, err error) {
	for {
		envelope, err := sub.next(ctx)
		if err != nil {
			return true, err
		}
		if envelope.Topic != topicOOM && envelope.Topic != topicDelete {
			continue
		}
		event, err := typeurl.UnmarshalAny(envelope.Event)
		if err != nil {
			return true, fmt.Errorf("event %s: %w", envelope.Topic, err)
		}
		switch e := event.(type) {
		case *events.TaskDelete: // the next task counts anew
			if e.GetID() == "" || e.GetID() == e.GetContainerID() {
				delete(w.seen, e.GetContainerID())
			}
		case *events.TaskOOM:
			if w.id != "" && w.id != e.GetContainerID() {
				continue
			}
			kill, ok := w.news(ctx, e.GetContainerID(), envelope.Timestamp)
			if ok && !w.yield(kill) {
				return false, nil
			}
		}
	}
}

// news returns the event to report, or false if it was reported already.
func (w *oomWatch) news(ctx context.Context, id string, at time.Time) (OOMEvent, bool) {
	last, known := w.seen[id]
	var kills uint64
	for look := 1; look <= oomLooks; look++ {
		var err error
		if kills, err = w.service.oomKills(ctx, id); err != nil {
			kills = 0
			break
		}
		if kills < last.kills { // another task of the container
			last, known = oomCount{}, false
		}
		if kills > last.kills {
			break
		}
		if err := w.service.pause(ctx, oomPause); err != nil {
			break
		}
	}
	switch {
	case kills > last.kills, !known:
	case kills != 0, at.Sub(last.at) < time.Second:
		return OOMEvent{}, false
	}
	w.seen[id] = oomCount{kills: max(kills, last.kills), at: at}
	return OOMEvent{ContainerID: id, At: at, Kills: kills}, true
}
