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
	"github.com/ctrdkit/containerd/internal/leaks"
	"github.com/ctrdkit/containerd/internal/seam"
)

const (
	// leakGrace is how long what was told to end gets for it.
	leakGrace = 3 * time.Second
	leakPause = 10 * time.Millisecond
	leakLimit = 30 * time.Second
)

// AssertNoLeaks fails the test if there is more at its end than at this call:
// tasks, containers, snapshots and leases in the service's namespace, the
// service's FIFOs, and goroutines and open files of this process. What is about
// to end gets three seconds for it.
//
// Images and their unpacked layers are not leaks, nor is what garbage collection
// takes. Call it after what makes the service, so that the check comes before
// its end, and not in tests that run in parallel with others, whose goroutines
// and files are this process's too.
func AssertNoLeaks(t T, svc containerd.Connection) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), leakLimit)
	defer cancel()
	before, err := storedBy(ctx, svc) // also makes the client connect
	if err != nil {
		t.Fatalf("looking at what the daemon has: %v", err)
		return
	}
	resources := leaks.Take(filesOf(svc)...)
	t.Cleanup(func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), leakLimit)
		defer cancel()
		left, err := leftSince(ctx, svc, before, resources)
		if err != nil {
			t.Errorf("looking for leaks: %v", err)
		}
		for _, leak := range left {
			t.Errorf("leak: %s", leak)
		}
	})
}

// leftSince returns what is left after leakGrace.
func leftSince(ctx context.Context, svc containerd.Connection, before []string, resources leaks.Resources) ([]string, error) {
	tick := time.NewTicker(leakPause)
	defer tick.Stop()
	for end := time.Now().Add(leakGrace); ; <-tick.C {
		stored, err := storedBy(ctx, svc)
		if err != nil {
			return nil, err
		}
		left := slices.DeleteFunc(stored, func(line string) bool { return slices.Contains(before, line) })
		left = append(left, leaks.Take(filesOf(svc)...).Since(resources)...)
		if len(left) == 0 || time.Now().After(end) {
			return left, nil
		}
	}
}

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
