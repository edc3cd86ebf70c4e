package containerd

import (
	"context"
	"crypto/rand"
	"strconv"
	"time"

	apievents "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/errdefs"
)

const (
	// subscribedTopic is the topic of the events by which a subscription finds out
	// that it is in force. Each has its own below it.
	subscribedTopic = "/ctrdkit/subscribed/"
	// subscribePause is the time between two of these events.
	subscribePause = 20 * time.Millisecond
)

// subscription brings the events of some topics in the service's namespace.
type subscription struct {
	early  []*events.Envelope // came before it was known to be in force
	events <-chan *events.Envelope
	errs   <-chan error
	cancel context.CancelFunc
}

// subscribe returns when the subscription is in force: what happens from then on
// is brought. The daemon does not say so, so it is asked to bring an event of
// the subscription's own. The caller calls stop.
func (s *DefaultService) subscribe(ctx context.Context, topics ...string) (*subscription, error) {
	own := subscribedTopic + rand.Text()
	filters := make([]string, 0, len(topics)+1)
	for _, topic := range append(topics, own) {
		filters = append(filters, eventFilter(s.namespace, topic))
	}
	subCtx, cancel := context.WithCancel(ctx)
	sub := &subscription{cancel: cancel}
	sub.events, sub.errs = s.client.Subscribe(subCtx, filters...)
	if err := s.confirm(ctx, sub, own); err != nil {
		sub.stop()
		return nil, err
	}
	return sub, nil
}

// confirm publishes events until one comes back.
func (s *DefaultService) confirm(ctx context.Context, sub *subscription, own string) error {
	for {
		if err := s.client.EventService().Publish(ctx, own, &apievents.TaskOOM{}); err != nil {
			return native(err)
		}
		elapsed, release := s.clock.NewTimer(subscribePause)
		again := false
		for !again {
			select {
			case envelope := <-sub.events:
				if envelope.Topic == own {
					release()
					return nil
				}
				sub.early = append(sub.early, envelope)
			case err := <-sub.errs:
				release()
				return subscriptionError(err)
			case <-elapsed:
				again = true
			case <-ctx.Done():
				release()
				return ctx.Err()
			}
		}
		release()
	}
}

// subscriptionError is the class of what ends a subscription. An end without an
// error is a daemon that goes away.
func subscriptionError(err error) error {
	if err == nil {
		return errdefs.ErrUnavailable
	}
	return native(err)
}

// next returns the next event, which can be one of the subscription's own.
func (sub *subscription) next(ctx context.Context) (*events.Envelope, error) {
	if len(sub.early) > 0 {
		first := sub.early[0]
		sub.early = sub.early[1:]
		return first, nil
	}
	select {
	case envelope := <-sub.events:
		return envelope, nil
	case err := <-sub.errs:
		return nil, subscriptionError(err)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// stop ends the subscription.
func (sub *subscription) stop() {
	sub.cancel()
	for range sub.errs { // closed when the goroutine of containerd's client has ended
	}
}

func eventFilter(namespace, topic string) string {
	return "namespace==" + strconv.Quote(namespace) + ",topic==" + strconv.Quote(topic)
}
