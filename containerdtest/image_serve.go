package containerdtest

import (
	"github.com/ctrdkit/containerd/internal/testimage"
)

// ServeImage serves what [Fake.AddImage] would store, from a registry of its own
// on loopback, and returns the reference to pull it by, such as
// "127.0.0.1:40123/image:v1". The zero value of image is what package conformance
// wants for its Backend. It stores nothing in the fake. The end of the test ends
// the registry.
func (f *Fake) ServeImage(image Image) (ref string) {
	f.t.Helper()
	return serveImage(f.t, image, baseFiles())
}

// ServeImage does what [Fake.ServeImage] does, with real programs for the
// built-in commands, as [Daemon.AddImage] has them.
func (d *Daemon) ServeImage(image Image) (ref string) {
	d.t.Helper()
	return serveImage(d.t, image, d.baseFiles(image))
}

// serveImage serves an image that has the files of base unless it is to be empty.
func serveImage(t T, image Image, base []testimage.File) (ref string) {
	t.Helper()
	made, err := testimage.Make(image.description(base))
	if err != nil {
		t.Fatalf("making an image to serve: %v", err)
	}
	registry := testimage.NewRegistry()
	t.Cleanup(registry.Close)
	return registry.Push("image:v1", made)
}
