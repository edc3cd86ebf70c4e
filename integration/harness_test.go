package integration_test

import (
	"context"
	"crypto/rand"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdtest/conformance"
)

// helperEnv makes this test binary act as another process of a test.
const helperEnv = "INTEGRATION_HELPER"

func isHelper() bool { return os.Getenv(helperEnv) != "" }

// backend opens a service in a new namespace of the daemon at address. At the
// end of the test the namespace is emptied and removed.
func backend(t *testing.T, address string, opts ...containerd.Option) conformance.Backend {
	t.Helper()
	raw, err := client.New(address)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, raw.Close()) })

	namespace := "test-" + strings.ToLower(rand.Text()[:12])
	opts = append([]containerd.Option{containerd.WithAddress(address), containerd.WithNamespace(namespace)}, opts...)
	svc, err := containerd.Open(t.Context(), opts...)
	require.NoError(t, err)
	t.Cleanup(func() {
		removeNamespace(t, raw, namespace)
	})
	t.Cleanup(func() { assert.NoError(t, svc.Close()) })

	capabilities, err := svc.Capabilities(t.Context())
	require.NoError(t, err)
	return conformance.Backend{
		Service:     svc,
		Client:      raw,
		Namespace:   namespace,
		Snapshotter: capabilities.Snapshotter,
		Image:       shared.image,
		Private:     private,
		Lacks:       lacks(),
	}
}

// lacks says what the daemons can't do for this user.
func lacks() map[conformance.Ability]string {
	if os.Geteuid() == 0 {
		return nil
	}
	const noCgroup = "a rootless container has no cgroup"
	missing := map[conformance.Ability]string{conformance.Pausing: noCgroup, conformance.ProcessLists: noCgroup, conformance.Limits: noCgroup}
	if _, err := exec.LookPath("newuidmap"); err != nil {
		missing[conformance.OtherUsers] = "newuidmap is not installed, so a rootless container has one user"
	}
	return missing
}

// removeNamespace removes everything that a test made on purpose, through a
// plain client, and checks that the daemon then has nothing left of it.
func removeNamespace(t *testing.T, c *client.Client, namespace string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(namespaces.WithNamespace(context.WithoutCancel(t.Context()), namespace), time.Minute)
	defer cancel()

	list, err := c.ImageService().List(ctx)
	require.NoError(t, err)
	for _, image := range list {
		err := c.ImageService().Delete(ctx, image.Name)
		assert.True(t, err == nil || errdefs.IsNotFound(err), "deleting image: %v", err)
	}
	for _, name := range []string{"overlayfs", "native"} {
		unprotect(ctx, t, c.SnapshotService(name))
	}
	// A lease that ends synchronously runs the garbage collection.
	lease, err := c.LeasesService().Create(ctx, leases.WithRandomID())
	require.NoError(t, err)
	require.NoError(t, c.LeasesService().Delete(ctx, lease, leases.SynchronousDelete))

	for _, name := range []string{"overlayfs", "native"} {
		err := c.SnapshotService(name).Walk(ctx, func(_ context.Context, info snapshots.Info) error {
			t.Errorf("snapshot %s is left in %s: %v", info.Name, name, info.Labels)
			return nil
		})
		assert.True(t, err == nil || errdefs.IsInvalidArgument(err) || errdefs.IsNotFound(err), "walking %s: %v", name, err)
	}
	err = c.NamespaceService().Delete(ctx, namespace)
	assert.True(t, err == nil || errdefs.IsNotFound(err), "deleting the namespace: %v", err)
}

// unprotect removes the labels that keep snapshots from garbage collection.
func unprotect(ctx context.Context, t *testing.T, sn snapshots.Snapshotter) {
	t.Helper()
	err := sn.Walk(ctx, func(ctx context.Context, info snapshots.Info) error {
		if _, ok := info.Labels["containerd.io/gc.root"]; !ok {
			return nil
		}
		delete(info.Labels, "containerd.io/gc.root")
		_, err := sn.Update(ctx, info, "labels")
		return err
	})
	assert.True(t, err == nil || errdefs.IsInvalidArgument(err) || errdefs.IsNotFound(err), "walking snapshots: %v", err)
}
