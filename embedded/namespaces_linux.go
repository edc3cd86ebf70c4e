package embedded

import (
	"context"
	"maps"

	api "github.com/containerd/containerd/api/services/namespaces/v1"
	"github.com/containerd/containerd/v2/defaults"
	"google.golang.org/grpc"
)

// namespaceDefaults adds the daemon's default snapshotter to the labels of
// namespaces that name none, which is where clients look for it.
type namespaceDefaults struct {
	api.NamespacesClient
	snapshotter string
}

// Get returns a namespace with its own and the default labels.
func (n *namespaceDefaults) Get(ctx context.Context, r *api.GetNamespaceRequest, opts ...grpc.CallOption) (*api.GetNamespaceResponse, error) {
	resp, err := n.NamespacesClient.Get(ctx, r, opts...)
	if err != nil {
		return nil, err
	}
	n.label(resp.Namespace)
	return resp, nil
}

// List returns all namespaces with their own and the default labels.
func (n *namespaceDefaults) List(ctx context.Context, r *api.ListNamespacesRequest, opts ...grpc.CallOption) (*api.ListNamespacesResponse, error) {
	resp, err := n.NamespacesClient.List(ctx, r, opts...)
	if err != nil {
		return nil, err
	}
	for _, ns := range resp.Namespaces {
		n.label(ns)
	}
	return resp, nil
}

func (n *namespaceDefaults) label(ns *api.Namespace) {
	if ns.GetLabels()[defaults.DefaultSnapshotterNSLabel] != "" {
		return
	}
	labels := map[string]string{defaults.DefaultSnapshotterNSLabel: n.snapshotter}
	maps.Copy(labels, ns.Labels)
	ns.Labels = labels
}
