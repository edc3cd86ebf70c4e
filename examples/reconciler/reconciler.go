// Package reconciler keeps one container running for each wanted value of a
// label. docs/TESTING.md shows how it is tested: on a mock, on the fake and on a
// real daemon.
package reconciler

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

// Service is what a [Reconciler] needs of a containerd.Service.
type Service interface {
	containerd.ContainerService
	containerd.TaskService
}

// Spec says what a container runs.
type Spec struct {
	Image string   // reference of the image
	Args  []string // command line; empty means the image's own
}

// Reconciler keeps the containers that carry a label. It has no state of its own
// and is safe for concurrent use by multiple goroutines; runs at the same time
// may fail with already-exists errors, and do no harm.
type Reconciler struct {
	// Service is where the containers are. Required.
	Service Service
	// Label is the key of the label that marks the containers; the value is the
	// container's name. Required.
	Label string
	// Grace is how long a container that is not wanted gets to stop before it is
	// killed. Zero means 10 seconds.
	Grace time.Duration
}

// Run makes the containers that carry the label those of want, from name to
// spec: it creates what is missing, starts what is not running, and stops and
// removes what is not wanted. A name is the container's ID and its label's value.
// A container that is there keeps its spec until it is removed.
//
// Run goes on after an error about one container and returns all of them, joined;
// the next run does what is left. When ctx ends it begins nothing more and returns.
func (r *Reconciler) Run(ctx context.Context, want map[string]Spec) error {
	found, err := r.Service.ListContainersByLabel(ctx, r.Label, "")
	if err != nil {
		return err
	}
	live, err := r.live(ctx)
	if err != nil {
		return err
	}
	there := make(map[string]bool, len(found))
	for _, c := range found {
		there[c.ID()] = true
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if ctx.Err() == nil && !(there[name] && live[name]) {
			errs = append(errs, r.start(ctx, name, want[name], there[name]))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(there)) {
		if _, wanted := want[id]; ctx.Err() == nil && !wanted {
			errs = append(errs, r.remove(ctx, id))
		}
	}
	return errors.Join(append(errs, ctx.Err())...)
}

// live returns the containers whose program runs, or is paused.
func (r *Reconciler) live(ctx context.Context) (map[string]bool, error) {
	tasks, err := r.Service.ListTasks(ctx, &containerd.ListTasksOptions{Filter: "status!=STOPPED,status!=CREATED"})
	live := make(map[string]bool, len(tasks))
	for _, task := range tasks {
		live[task.ContainerID] = true
	}
	return live, err
}

// start starts a container, in place of a stopped task, and creates it first if
// it is not there.
func (r *Reconciler) start(ctx context.Context, name string, spec Spec, there bool) error {
	if !there {
		req := containerd.CreateContainerRequest{ID: name, ImageRef: spec.Image, Labels: map[string]string{r.Label: name}}
		if len(spec.Args) > 0 {
			req.SpecOpts = []oci.SpecOpts{oci.WithProcessArgs(spec.Args...)}
		}
		if _, err := r.Service.CreateContainer(ctx, req); err != nil {
			return err
		}
	}
	_, err := r.Service.StartTask(ctx, name, nil)
	return err
}

// remove stops a container and deletes it with its stopped task. It is done if
// somebody else was faster.
func (r *Reconciler) remove(ctx context.Context, id string) error {
	err := r.Service.StopTask(ctx, id, &containerd.StopTaskOptions{Timeout: r.Grace, Force: true})
	if err == nil {
		err = r.Service.DeleteContainer(ctx, id, nil)
	}
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}
