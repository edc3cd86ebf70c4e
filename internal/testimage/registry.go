package testimage

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
)

// Registry serves images by the OCI distribution specification's pull part, on
// loopback and by plain HTTP. Its methods are safe for concurrent use.
type Registry struct {
	server *httptest.Server

	mu       sync.Mutex
	blobs    map[digest.Digest][]byte
	types    map[digest.Digest]string
	tags     map[string]digest.Digest // by NAME:TAG
	requests []string
	fault    func(http.ResponseWriter, *http.Request) bool
}

// NewRegistry starts a registry. The caller closes it.
func NewRegistry() *Registry {
	r := &Registry{
		blobs: make(map[digest.Digest][]byte),
		types: make(map[digest.Digest]string),
		tags:  make(map[string]digest.Digest),
	}
	r.server = httptest.NewServer(http.HandlerFunc(r.serve))
	return r
}

// Close ends the registry and every connection to it.
func (r *Registry) Close() {
	r.server.CloseClientConnections()
	r.server.Close()
}

// Host returns the registry's host and port, the first part of its references.
func (r *Registry) Host() string { return strings.TrimPrefix(r.server.URL, "http://") }

// Push stores content under name, such as "app:v1", and returns its reference.
func (r *Registry) Push(name string, c *Content) (ref string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for dgst, blob := range c.Blobs {
		r.blobs[dgst] = blob
		r.types[dgst] = c.types[dgst]
	}
	r.tags[name] = c.Target.Digest
	return r.Host() + "/" + name
}

// SetFault makes fault see every request first; it answers those for which it
// returns true. Nil ends the faults.
func (r *Registry) SetFault(fault func(http.ResponseWriter, *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = fault
}

// Requests returns the method and path of every request since the last call.
func (r *Registry) Requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.requests
	r.requests = nil
	return seen
}

func (r *Registry) serve(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.requests = append(r.requests, req.Method+" "+req.URL.Path)
	fault := r.fault
	r.mu.Unlock()
	if fault != nil && fault(w, req) {
		return
	}
	path := strings.TrimPrefix(req.URL.Path, "/v2/")
	if path == "" {
		return // the version check
	}
	if name, ref, ok := strings.Cut(path, "/manifests/"); ok {
		r.write(w, req, r.manifest(name, ref))
		return
	}
	_, dgst, ok := strings.Cut(path, "/blobs/")
	if !ok {
		http.NotFound(w, req)
		return
	}
	r.write(w, req, digest.Digest(dgst))
}

// manifest resolves a tag; a digest stands for itself.
func (r *Registry) manifest(name, ref string) digest.Digest {
	if strings.Contains(ref, ":") {
		return digest.Digest(ref)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tags[name+":"+ref]
}

func (r *Registry) write(w http.ResponseWriter, req *http.Request, dgst digest.Digest) {
	r.mu.Lock()
	blob, ok := r.blobs[dgst]
	mediaType := r.types[dgst]
	r.mu.Unlock()
	if !ok {
		http.Error(w, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`, http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Docker-Content-Digest", dgst.String())
	w.Header().Set("Content-Length", strconv.Itoa(len(blob)))
	if req.Method == http.MethodHead {
		return
	}
	if _, err := w.Write(blob); err != nil {
		return // the client left
	}
}
