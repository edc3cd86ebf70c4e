package conformance

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/containerd/api/events"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/grpc/status"
)

// native gives a raw gRPC error of the plain client its class, and leaves
// others as they are: converting them would take their class away.
func native(err error) error {
	if _, raw := status.FromError(err); !raw || err == nil {
		return err
	}
	return errgrpc.ToNative(err)
}

// execEvents subscribes to the execs that are started in the case's namespace.
func (e *env) execEvents() <-chan *events.TaskExecStarted {
	e.Helper()
	return subscribe[*events.TaskExecStarted](e, "/tasks/exec-started")
}

// subscribe returns the events of one topic in the case's namespace.
func subscribe[E any](e *env, topic string) <-chan E {
	e.Helper()
	const marker = "/conformance/subscribed"
	ctx, cancel := context.WithCancel(e.raw)
	e.Cleanup(cancel)
	envelopes, errs := e.Client.Subscribe(ctx,
		fmt.Sprintf("namespace==%q,topic==%q", e.Namespace, topic),
		fmt.Sprintf("namespace==%q,topic==%q", e.Namespace, marker))

	// The daemon does not say when a subscription is in force: publish until
	// an event comes back.
	for subscribed := false; !subscribed; {
		e.ok(e.Client.EventService().Publish(e.raw, marker, &events.TaskExecStarted{}))
		select {
		case <-envelopes:
			subscribed = true
		case err := <-errs:
			e.Fatalf("subscribing: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	delivered := make(chan E, 1024)
	go func() {
		for {
			select {
			case envelope := <-envelopes:
				if event, err := typeurl.UnmarshalAny(envelope.Event); err == nil && envelope.Topic != marker {
					delivered <- event.(E)
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return delivered
}
