package integration_test

import (
	"context"
	"errors"
	"net/http"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/internal/testimage"
)

// wantClass checks the class of a failed pull's error.
func (w *world) wantClass(err error, is func(error) bool, id string) {
	w.Helper()
	require.Error(w, err)
	assert.True(w, is(err), "error is of another class: %v", err)
	opErr, ok := errors.AsType[*containerd.Error](err)
	require.True(w, ok, "%T", err)
	assert.Equal(w, id, opErr.ID)
	assert.NotEmpty(w, opErr.Op)
}

// noImage checks that a failed pull has left nothing.
func (w *world) noImage(ref string) {
	w.Helper()
	w.noLeases()
	_, err := w.Client.ImageService().Get(w.raw, ref)
	assert.True(w, errdefs.IsNotFound(err), "the image is stored: %v", err)
	assert.Empty(w, w.snapshots(), "snapshots are left")
}

func (w *world) target(ref string) string {
	w.Helper()
	image, err := w.Client.ImageService().Get(w.raw, ref)
	require.NoError(w, err)
	return image.Target.Digest.String()
}

func TestPullFromAFailingRegistryLeavesTheImageThatIsStored(t *testing.T) {
	for name, c := range registryFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, reg := newWorld(t), newRegistry(t)
			before, next := freshContent(t), freshContent(t)
			ref := reg.Push("app:v1", before)
			w.pull(ref)
			reg.Push("app:v1", next)
			reg.SetFault(c.fault(t, next))

			_, err := w.Service.PullImage(w.ctx, ref, nil)
			w.wantClass(err, c.class, ref)
			w.noLeases()
			assert.Equal(t, before.Target.Digest.String(), w.target(ref))
			assert.Len(t, w.snapshots(), 2, "of the image that is stored")

			reg.SetFault(nil)
			w.pull(ref)
			assert.Equal(t, next.Target.Digest.String(), w.target(ref))
		})
	}
}

func TestCreateFromAFailingRegistryLeavesNothing(t *testing.T) {
	for name, c := range registryFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, reg := newWorld(t), newRegistry(t)
			image := freshContent(t)
			req := containerd.CreateContainerRequest{ID: newID(), ImageRef: reg.Push("app:v1", image)}
			reg.SetFault(c.fault(t, image))

			_, err := w.Service.CreateContainer(w.ctx, req)
			w.wantClass(err, c.class, req.ID)
			w.noImage(req.ImageRef)
			w.noContainer(req.ID)

			reg.SetFault(nil)
			_, err = w.Service.CreateContainer(w.ctx, req)
			require.NoError(t, err)
		})
	}
}

// stall answers with a part of a blob (parts is 2 for a half), with headers only
// (1) or not at all (0), and then waits until the client leaves.
func stall(in string, parts int) newFault {
	return func(_ *testing.T, c *testimage.Content) fault {
		return func(w http.ResponseWriter, r *http.Request) bool {
			blob := c.Blobs[digest.Digest(path.Base(r.URL.Path))]
			if !strings.Contains(r.URL.Path, in) || parts > 0 && r.Method != http.MethodGet {
				return false
			}
			if parts > 0 {
				w.Header().Set("Content-Length", strconv.Itoa(len(blob)))
				if _, err := w.Write(blob[:len(blob)/2*(parts-1)]); err != nil {
					return true
				}
				if http.NewResponseController(w).Flush() != nil {
					return true
				}
			}
			<-r.Context().Done()
			return true
		}
	}
}

func TestPullFromAStallingRegistryEndsWithItsContext(t *testing.T) {
	const deadline = 500 * time.Millisecond
	for name, fault := range map[string]newFault{
		"no answer":                      stall("/v2/", 0),
		"no answer for a layer":          stall("/blobs/", 0),
		"headers only":                   stall("/blobs/", 1),
		"body half way":                  stall("/blobs/", 2),
		"body half way, of the manifest": stall("/manifests/", 2),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, reg := newWorld(t), newRegistry(t)
			image := freshContent(t)
			ref := reg.Push("app:v1", image)
			reg.SetFault(fault(t, image))
			calls := map[string]func(context.Context) error{
				"PullImage": func(ctx context.Context) error {
					_, err := w.Service.PullImage(ctx, ref, nil)
					return err
				},
				"CreateContainer": func(ctx context.Context) error {
					_, err := w.Service.CreateContainer(ctx, containerd.CreateContainerRequest{ID: newID(), ImageRef: ref})
					return err
				},
			}
			for name, call := range calls {
				ctx, cancel := context.WithTimeout(w.ctx, deadline)
				began := time.Now()
				err := call(ctx)
				cancel()
				assert.Less(t, time.Since(began), deadline+pastDeadline+scheduling, name)
				assert.ErrorIs(t, err, context.DeadlineExceeded, name)
				w.noImage(ref)
			}
			reg.SetFault(nil)
			for name, call := range calls {
				assert.NoError(t, call(w.ctx), name)
			}
		})
	}
}

func TestDescriptorURLsAreNotFollowed(t *testing.T) {
	for name, c := range map[string]struct {
		fault fault
		check func(w *world, err error, ref string)
	}{
		"the registry has the layer": {nil, func(w *world, err error, _ string) { assert.NoError(w, err) }},
		"the registry has no layer": {only("/blobs/", answers(http.StatusNotFound)), func(w *world, err error, ref string) {
			w.wantClass(err, errdefs.IsNotFound, ref)
			w.noImage(ref)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, reg := newWorld(t), newRegistry(t)
			url, requests := elsewhere(t, http.StatusOK)
			layer := freshLayer()
			layer.URLs = []string{url + "/layer"}
			ref := reg.Push("app:v1", content(t, testimage.Image{Layers: []testimage.Layer{layer}}))
			reg.SetFault(c.fault)
			_, err := w.Service.PullImage(w.ctx, ref, nil)
			c.check(w, err, ref)
			assert.Zero(t, requests.Load(), "requests to an address that an image named")
		})
	}
}

func TestAnImageOfAnotherPlatformIsRefused(t *testing.T) {
	other := "s390x"
	if runtime.GOARCH == other {
		other = "amd64"
	}
	w, reg := newWorld(t), newRegistry(t)
	ref := reg.Push("app:v1", content(t, testimage.Image{Architecture: other, Layers: []testimage.Layer{freshLayer()}}))
	_, err := w.Service.PullImage(w.ctx, ref, nil)
	w.wantClass(err, errdefs.IsFailedPrecondition, ref)
	require.ErrorContains(t, err, "linux/"+other)
	require.ErrorContains(t, err, "linux/"+runtime.GOARCH)
	w.noImage(ref)
	id := newID()
	_, err = w.Service.CreateContainer(w.ctx, containerd.CreateContainerRequest{ID: id, ImageRef: ref})
	w.wantClass(err, errdefs.IsFailedPrecondition, id)
	w.noImage(ref)
	w.noContainer(id)
}

func TestPullAsksTheRegistryNoMoreThanItMust(t *testing.T) {
	t.Run("a tag is asked for every time, and what is present is not fetched", func(t *testing.T) {
		t.Parallel()
		w, reg := newWorld(t), newRegistry(t)
		ref := reg.Push("app:v1", freshContent(t))
		w.pull(ref)
		first := reg.Requests()
		slices.Sort(first)
		assert.Len(t, slices.Compact(slices.Clone(first)), len(first), "a blob is fetched once: %v", first)
		for range 2 {
			w.pull(ref)
			assert.Equal(t, []string{"HEAD /v2/app/manifests/v1"}, reg.Requests())
		}
	})
	t.Run("a complete digest reference makes no request", func(t *testing.T) {
		t.Parallel()
		w, reg := newWorld(t), newRegistry(t)
		c := freshContent(t)
		ref := reg.Push("app:v1", c)
		w.pull(ref)
		reg.Requests()
		for _, byDigest := range []string{reg.Host() + "/app@" + c.Target.Digest.String(), ref + "@" + c.Target.Digest.String()} {
			for range 2 {
				w.pull(byDigest)
				assert.Empty(t, reg.Requests(), byDigest)
			}
		}
	})
	t.Run("a new tag's common layers are not fetched again", func(t *testing.T) {
		t.Parallel()
		w, reg := newWorld(t), newRegistry(t)
		common, more := freshLayer(), freshLayer()
		w.pull(reg.Push("app:v1", content(t, testimage.Image{Layers: []testimage.Layer{common}})))
		reg.Requests()
		ref := reg.Push("app:v2", content(t, testimage.Image{Layers: []testimage.Layer{common, more}}))
		w.pull(ref)
		var blobs int
		for _, r := range reg.Requests() {
			if strings.Contains(r, "/blobs/") {
				blobs++
			}
		}
		assert.Equal(t, 2, blobs, "the configuration and one layer")
	})
}
