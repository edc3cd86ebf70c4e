package containerdtest

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/internal/seam"
)

// storedBy lists what the daemon keeps in the service's namespace, and the
// service's FIFOs.
func storedBy(ctx context.Context, svc containerd.Connection) ([]string, error) {
	c := svc.Client()
	ctx = namespaces.WithNamespace(ctx, svc.Namespace())
	if err := collectGarbage(ctx, c); err != nil {
		return nil, err
	}
	var found []string
	records, err := c.ContainerService().List(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		found = append(found, "container "+r.ID)
	}
	running, err := c.TaskService().List(ctx, &tasks.ListTasksRequest{})
	if err != nil {
		return nil, err
	}
	for _, p := range running.GetTasks() {
		found = append(found, fmt.Sprintf("task of container %s, %v", p.GetID(), p.GetStatus()))
	}
	held, err := c.LeasesService().List(ctx)
	if err != nil {
		return nil, err
	}
	for _, lease := range held {
		found = append(found, fmt.Sprintf("lease %s, labels %v", lease.ID, lease.Labels))
	}
	kept, err := snapshotsOf(ctx, c)
	if err != nil {
		return nil, err
	}
	return slices.Concat(found, kept, fifosOf(svc)), nil
}

// collectGarbage returns when the daemon has removed what nothing refers to.
func collectGarbage(ctx context.Context, c *client.Client) error {
	manager := c.LeasesService()
	lease, err := manager.Create(ctx, leases.WithRandomID(), leases.WithExpiration(time.Minute))
	if err != nil {
		return err
	}
	return manager.Delete(ctx, lease, leases.SynchronousDelete)
}

// snapshotsOf lists all snapshots but the layers of images, whose names are digests.
func snapshotsOf(ctx context.Context, c *client.Client) (found []string, err error) {
	loaded, err := c.IntrospectionService().Plugins(ctx, "type==io.containerd.snapshotter.v1")
	if err != nil {
		return nil, err
	}
	for _, p := range loaded.GetPlugins() {
		if p.GetInitErr() != nil {
			continue
		}
		err := c.SnapshotService(p.GetID()).Walk(ctx, func(_ context.Context, info snapshots.Info) error {
			if !strings.HasPrefix(info.Name, "sha256:") {
				found = append(found, fmt.Sprintf("snapshot %s in %s", info.Name, p.GetID()))
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// fifosOf lists the service's directories of FIFOs.
func fifosOf(svc containerd.Connection) (left []string) {
	var of *containerd.DefaultService
	switch s := svc.(type) {
	case *Fake:
		of = s.DefaultService
	case *Daemon:
		of = s.DefaultService
	case *containerd.DefaultService:
		of = s
	default:
		return nil
	}
	for _, dir := range seam.FIFODirs(of) {
		left = append(left, "FIFOs in "+dir)
	}
	return left
}

// filesOf returns the directories of the daemon's own files, if it is in this
// process.
func filesOf(svc containerd.Connection) []string {
	if fake, ok := svc.(*Fake); ok {
		return []string{filepath.Join(fake.dir, "root")}
	}
	return nil
}
