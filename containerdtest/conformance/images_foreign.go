package conformance

import (
	"archive/tar"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
)

// pullForeignLayer gives a layer an address of its own: a server that counts.
func pullForeignLayer(e *env) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusTeapot)
	}))
	defer server.Close()
	_, target := e.makeImage(made{
		files: []tar.Header{{Name: "file", Typeflag: tar.TypeReg}},
		urls:  []string{server.URL + "/layer"},
	})
	ref := "localhost:1/foreign-layer@" + target.Digest.String()
	_, err := e.Service.PullImage(e.ctx, ref, nil)
	e.class(err, classified, ref)
	e.want(asked.Load() == 0, "the address was asked %d times", asked.Load())
}
