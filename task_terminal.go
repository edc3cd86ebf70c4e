package containerd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/types/known/anypb"
)

// specTerminal reports whether a container's stored spec asks for a terminal.
func specTerminal(spec typeurl.Any) (bool, error) {
	var fields struct {
		Process *struct {
			Terminal bool `json:"terminal"`
		} `json:"process"`
	}
	if err := decodeSpec(spec, &fields); err != nil {
		return false, err
	}
	return fields.Process != nil && fields.Process.Terminal, nil
}

func decodeSpec(spec typeurl.Any, into any) error {
	if spec == nil {
		return fmt.Errorf("container has no spec: %w", errdefs.ErrFailedPrecondition)
	}
	if err := json.Unmarshal(spec.GetValue(), into); err != nil {
		return fmt.Errorf("container's spec: %w: %w", err, errdefs.ErrFailedPrecondition)
	}
	return nil
}

// withTerminal returns the spec with its process's terminal on, and everything
// else as it was, also what this package does not know.
func withTerminal(spec typeurl.Any) (typeurl.Any, error) {
	var fields, process map[string]json.RawMessage
	if err := decodeSpec(spec, &fields); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(fields["process"], &process); err != nil || process == nil {
		return nil, fmt.Errorf("container's spec has no process: %w", errdefs.ErrFailedPrecondition)
	}
	process["terminal"] = json.RawMessage("true")
	changed, err := json.Marshal(process)
	if err != nil {
		return nil, err
	}
	fields["process"] = changed
	value, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	return &anypb.Any{TypeUrl: spec.GetTypeUrl(), Value: value}, nil
}

// storeTerminal turns the terminal on in the stored spec. When the start
// fails, the spec becomes again what it was, unless somebody changed it.
func (st *starting) storeTerminal(ctx context.Context, record containers.Container) (containers.Container, error) {
	store := st.service.client.ContainerService()
	before := record.Spec
	after, err := withTerminal(before)
	if err != nil {
		return record, err
	}
	st.undo.push("container's spec", func(ctx context.Context) error {
		now, err := store.Get(ctx, st.id)
		if err != nil || !bytes.Equal(now.Spec.GetValue(), after.GetValue()) {
			return err
		}
		now.Spec = before
		_, err = store.Update(ctx, now, "spec")
		return err
	})
	record.Spec = after
	return store.Update(ctx, record, "spec")
}
