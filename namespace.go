package containerd

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/pkg/identifiers"
	"github.com/containerd/containerd/v2/pkg/namespaces"
)

// DefaultNamespace is the containerd namespace that is used when none is given.
const DefaultNamespace = "default"

// scope is the one place that decides in which namespace a request acts. The
// service and every handle it gives out put their contexts through it.
type scope struct{ namespace string }

// context returns ctx with the scope's namespace, whatever namespace it carried.
func (sc scope) context(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, sc.namespace)
}

func (s *DefaultService) scope() scope { return scope{s.namespace} }

func validateNamespace(namespace string) error {
	if err := identifiers.Validate(namespace); err != nil {
		return fmt.Errorf("namespace %s: %w", quoted(namespace), err)
	}
	return nil
}
