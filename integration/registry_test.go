package integration_test

import (
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/internal/testimage"
)

// newRegistry returns a registry that only this test uses.
func newRegistry(t *testing.T) *testimage.Registry {
	t.Helper()
	reg := testimage.NewRegistry()
	t.Cleanup(reg.Close)
	return reg
}

// freshContent is an image that the daemon has no blob of: content is shared
// between namespaces, and what is present is not fetched.
func freshContent(t *testing.T) *testimage.Content {
	t.Helper()
	return content(t, testimage.Image{Layers: []testimage.Layer{freshLayer(), freshLayer()}})
}

func content(t *testing.T, image testimage.Image) *testimage.Content {
	t.Helper()
	c, err := testimage.Make(image)
	require.NoError(t, err)
	return c
}

// freshLayer is large enough to be cut off in the middle.
func freshLayer() testimage.Layer {
	return testimage.Layer{Files: []testimage.File{
		{Path: "file-" + rand.Text(), Content: []byte(strings.Repeat(rand.Text(), 8<<10))},
	}, Compression: testimage.None}
}

// freshImage serves such an image and returns its reference.
func freshImage(t *testing.T) string {
	t.Helper()
	return newRegistry(t).Push("app:v1", freshContent(t))
}

// fault answers a request instead of the registry, if it returns true.
type fault func(w http.ResponseWriter, r *http.Request) bool

func answers(code int) fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(code)
		return true
	}
}

// only limits a fault to requests whose path has a part and whose method is GET.
func only(part string, f fault) fault {
	return func(w http.ResponseWriter, r *http.Request) bool {
		return r.Method == http.MethodGet && strings.Contains(r.URL.Path, part) && f(w, r)
	}
}

// sends answers with a body of n bytes, of which it sends only some.
func sends(n, sent int) fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Length", strconv.Itoa(n))
		if _, err := w.Write(make([]byte, sent)); err != nil {
			return true // the client left
		}
		if sent < n {
			panic(http.ErrAbortHandler)
		}
		return true
	}
}

func redirects(url string) fault {
	return func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, url, http.StatusTemporaryRedirect)
		return true
	}
}

// refused is an address at which nobody listens.
func refused(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	return s.URL
}

// elsewhere is a server that answers everything with code, and counts.
func elsewhere(t *testing.T, code int) (url string, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.WriteHeader(code)
		if _, err := w.Write([]byte("not what was asked for")); err != nil {
			return
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, requests
}

// newFault makes the fault of one test, for content that it is asked for.
type newFault func(*testing.T, *testimage.Content) fault

var registryFaults = map[string]struct {
	fault newFault
	class func(error) bool
}{
	"401":                          {always(answers(401)), errdefs.IsUnauthorized},
	"403":                          {always(answers(403)), errdefs.IsPermissionDenied},
	"404":                          {always(answers(404)), errdefs.IsNotFound},
	"429":                          {always(answers(429)), errdefs.IsResourceExhausted},
	"500":                          {always(answers(500)), errdefs.IsUnavailable},
	"503":                          {always(answers(503)), errdefs.IsUnavailable},
	"401 for a layer":              {always(only("/blobs/", answers(401))), errdefs.IsUnauthorized},
	"403 for a layer":              {always(only("/blobs/", answers(403))), errdefs.IsPermissionDenied},
	"404 for a layer":              {always(only("/blobs/", answers(404))), errdefs.IsNotFound},
	"429 for a layer":              {always(only("/blobs/", answers(429))), errdefs.IsResourceExhausted},
	"500 for a layer":              {always(only("/blobs/", answers(500))), errdefs.IsUnavailable},
	"404 for a manifest":           {always(only("/manifests/", answers(404))), errdefs.IsNotFound},
	"a layer of the wrong digest":  {wrongBody("/blobs/", 0), errdefs.IsFailedPrecondition},
	"a layer that is too short":    {wrongBody("/blobs/", -10), errdefs.IsFailedPrecondition},
	"a layer that is too long":     {wrongBody("/blobs/", 10), errdefs.IsFailedPrecondition},
	"a manifest of wrong digest":   {wrongBody("/manifests/", 0), errdefs.IsFailedPrecondition},
	"a manifest that is too short": {wrongBody("/manifests/", -10), errdefs.IsFailedPrecondition},
	"a body that is cut off":       {always(only("/blobs/", sends(1000, 500))), errdefs.IsUnavailable},
	"a manifest that is cut off":   {always(only("/manifests/", sends(1000, 500))), errdefs.IsUnavailable},
	"a redirect to nobody": {func(t *testing.T, _ *testimage.Content) fault {
		return only("/blobs/", redirects(refused(t)))
	}, errdefs.IsUnavailable},
	"a redirect to what is absent": {func(t *testing.T, _ *testimage.Content) fault {
		url, _ := elsewhere(t, http.StatusNotFound)
		return only("/blobs/", redirects(url))
	}, errdefs.IsNotFound},
	"a redirect to something else": {func(t *testing.T, _ *testimage.Content) fault {
		url, _ := elsewhere(t, http.StatusOK)
		return only("/blobs/", redirects(url))
	}, errdefs.IsFailedPrecondition},
}

func always(f fault) newFault { return func(*testing.T, *testimage.Content) fault { return f } }

// wrongBody answers with as many zeros as the blob has bytes, and some more or less.
func wrongBody(part string, more int) newFault {
	return func(_ *testing.T, c *testimage.Content) fault {
		return only(part, func(w http.ResponseWriter, r *http.Request) bool {
			n := len(c.Blobs[digest.Digest(path.Base(r.URL.Path))]) + more
			return sends(n, n)(w, r)
		})
	}
}
