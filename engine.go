package containerd

import (
	"context"

	containerd "github.com/containerd/containerd/v2/client"
)

// Engine is everything that [DefaultService] can do: [Service] and all role
// interfaces. It grows with every release, so do not implement it by hand;
// accept [Service] or one role instead.
type Engine interface {
	Service
	Connection
	Inspector
}

// Connection gives access to what the service stands on.
type Connection interface {
	// Client returns the underlying containerd client.
	Client() *containerd.Client
	// Namespace returns the namespace that every call acts in.
	Namespace() string
	// Close releases what the service holds.
	Close() error
}

// Inspector asks the daemon about itself.
type Inspector interface {
	// Ping reports whether the daemon answers.
	Ping(ctx context.Context) error
	// Capabilities reports what the daemon and its runtime can do.
	Capabilities(ctx context.Context) (Capabilities, error)
}

var (
	_ Service = (*DefaultService)(nil)
	_ Engine  = (*DefaultService)(nil)
)
