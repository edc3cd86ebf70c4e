package conformance

import (
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctrdkit/containerd"
)

// canonical is the full name of a short one that no registry needs to know.
func (e *env) canonical() (short, full string) {
	short = "short-" + e.id()
	return short, "docker.io/library/" + short + ":latest"
}

var imageNameCases = []testCase{
	{name: "GetImage: every form of a name finds the image stored under the canonical one", run: func(e *env) {
		short, full := e.canonical()
		e.makeImage(made{name: full})
		for _, ref := range []string{short, short + ":latest", "library/" + short, "docker.io/library/" + short, "docker.io/" + short, full, "index.docker.io/library/" + short} {
			image, err := e.Service.GetImage(e.ctx, ref)
			e.ok(err)
			e.want(image.Name() == full, "%s finds %s", ref, image.Name())
		}
	}},
	{name: "GetImage: an image stored under exactly the given name wins", run: func(e *env) {
		short, full := e.canonical()
		e.makeImage(made{name: full})
		_, exact := e.makeImage(made{name: short, config: labelled("exact")})
		image, err := e.Service.GetImage(e.ctx, short)
		e.ok(err)
		e.want(image.Name() == short && image.Target().Digest == exact.Digest, "got %s", image.Name())
		image, err = e.Service.GetImage(e.ctx, full)
		e.ok(err)
		e.want(image.Name() == full, "got %s", image.Name())
	}},
	{name: "GetImage: another tag of the same repository is another image", run: func(e *env) {
		short, full := e.canonical()
		e.makeImage(made{name: full})
		_, err := e.Service.GetImage(e.ctx, short+":v2")
		e.class(err, errdefs.IsNotFound, short+":v2")
	}},
	{name: "GetImage: an absent image is not pulled", run: func(e *env) {
		before := e.state()
		_, err := e.Service.GetImage(e.ctx, e.Image)
		e.class(err, errdefs.IsNotFound, e.Image)
		e.unchanged(before)
	}},
	{name: "DeleteImage: every form of a name removes the image stored under the canonical one", run: func(e *env) {
		short, full := e.canonical()
		for _, ref := range []string{short, "library/" + short, full} {
			e.makeImage(made{name: full})
			e.ok(e.Service.DeleteImage(e.ctx, ref, nil))
			e.want(!e.hasImage(full), "%s left the image", ref)
		}
	}},
	{name: "DeleteImage: an image stored under exactly the given name wins", run: func(e *env) {
		short, full := e.canonical()
		e.makeImage(made{name: full})
		e.makeImage(made{name: short})
		e.ok(e.Service.DeleteImage(e.ctx, short, nil))
		e.want(!e.hasImage(short) && e.hasImage(full), "the wrong image was removed")
	}},
	{name: "images: a name is never satisfied by one that ends like it", run: func(e *env) {
		short, full := e.canonical()
		evil := []string{"evil.test/library/" + short + ":latest", "evil.test/docker.io/library/" + short + ":latest", "evil.test/" + short, "x" + full}
		for _, name := range evil {
			e.makeImage(made{name: name})
		}
		_, err := e.Service.GetImage(e.ctx, short)
		e.class(err, errdefs.IsNotFound, short)
		e.class(e.Service.DeleteImage(e.ctx, short, nil), errdefs.IsNotFound, short)
		for _, name := range evil {
			e.want(e.hasImage(name), "%s was removed", name)
		}
	}},
	{name: "CreateContainer: an image whose name only ends like the reference is not used", run: func(e *env) {
		ref, id := unreachable(e.id()), e.id()
		e.makeImage(made{name: "evil.test/" + strings.TrimPrefix(ref, "localhost:1/")})
		e.makeImage(made{name: "evil.test/" + ref})
		before := e.state()
		_, err := e.Service.CreateContainer(e.ctx, containerd.CreateContainerRequest{ID: id, ImageRef: ref})
		e.class(err, classified, id)
		e.unchanged(before)
	}},
	{name: "CreateContainer: the short form uses the stored image and needs no registry", run: func(e *env) {
		short, full := e.canonical()
		e.makeImage(made{name: full})
		id := e.createWith(containerd.CreateContainerRequest{ImageRef: short})
		e.want(e.record(id).Image == full, "the record has image %s", e.record(id).Image)
	}},
	{name: "images: every stored name addresses its image, also one that is no valid reference", run: func(e *env) {
		for _, name := range oddNames {
			e.makeImage(made{name: name})
		}
		list, err := e.Service.ListImages(e.ctx)
		e.ok(err)
		e.want(len(list) == len(oddNames), "got %d images, want %d", len(list), len(oddNames))
		for _, listed := range list {
			image, err := e.Service.GetImage(e.ctx, listed.Name())
			e.ok(err)
			e.want(image.Name() == listed.Name(), "%q finds %q", listed.Name(), image.Name())
			e.ok(e.Service.DeleteImage(e.ctx, listed.Name(), nil))
			e.want(!e.hasImage(listed.Name()), "%q is still there", listed.Name())
		}
	}},
	{name: "ListImages: an empty namespace has no images, and that is no error", run: func(e *env) {
		list, err := e.Service.ListImages(e.ctx)
		e.ok(err)
		e.want(len(list) == 0, "got %v", list)
	}},
	{name: "ListImages: an image without content is listed, found and removed", run: func(e *env) {
		name := unreachable(e.id())
		e.tagImage(name, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(name), Size: 10})
		list, err := e.Service.ListImages(e.ctx)
		e.ok(err)
		e.want(len(list) == 1 && list[0].Name() == name, "got %v", list)
		_, err = e.Service.GetImage(e.ctx, name)
		e.ok(err)
		e.ok(e.Service.DeleteImage(e.ctx, name, nil))
		e.want(!e.hasImage(name), "the image is still there")
	}},
}

// oddNames are stored names that a filter or a parser could trip over.
var oddNames = []string{
	"UPPER/Case", "with space", `quo"te`, `back\slash`, "a,b", "name==x", `x" || name~="`, "übung", "a//b", "http://host/a",
	"sha256:0000000000000000000000000000000000000000000000000000000000000000", "overlayfs@sha256:1234", "plain", "plain:latest",
}

func labelled(value string) ocispec.ImageConfig {
	return ocispec.ImageConfig{Labels: map[string]string{"made": value}}
}

var deleteImageCases = []testCase{
	{name: "DeleteImage: Synchronous returns after the content and the layers are collected", run: func(e *env) {
		target := e.pull().Target().Digest
		e.ok(e.Service.DeleteImage(e.ctx, e.Image, &containerd.DeleteImageOptions{Synchronous: true}))
		e.want(!e.hasContent(target), "the manifest is still there")
		for _, name := range e.snapshotters() {
			e.want(len(e.snapshotState(name)) == 0, "snapshots are still there: %v", e.snapshotState(name))
		}
	}},
	{name: "DeleteImage: another name of the same content keeps it", run: func(e *env) {
		target := e.pull().Target()
		e.tagImage("other", target)
		e.ok(e.Service.DeleteImage(e.ctx, e.Image, &containerd.DeleteImageOptions{Synchronous: true}))
		e.want(e.hasImage("other") && e.hasContent(target.Digest), "the other name has lost its content")
		e.wantComplete("other")
	}},
	{name: "DeleteImage: a container of the image still starts after the garbage collection", run: func(e *env) {
		id := e.create()
		e.ok(e.Service.DeleteImage(e.ctx, e.Image, &containerd.DeleteImageOptions{Synchronous: true}))
		e.collect()
		_, err := e.Service.StartTask(e.ctx, id, nil)
		e.ok(err)
		e.want(e.sh(id, "exit 7") == 7, "the container has lost its files")
	}},
	{name: "DeleteImage: a second delete is not found", run: func(e *env) {
		e.pull()
		e.ok(e.Service.DeleteImage(e.ctx, e.Image, nil))
		e.class(e.Service.DeleteImage(e.ctx, e.Image, nil), errdefs.IsNotFound, e.Image)
	}},
	{name: "DeleteImage: an image that was deleted can be pulled again", run: func(e *env) {
		e.pull()
		e.ok(e.Service.DeleteImage(e.ctx, e.Image, &containerd.DeleteImageOptions{Synchronous: true}))
		e.pull()
		e.wantComplete(e.Image)
	}},
	{name: "DeleteImage: of 16 deletes at once each succeeds or is not found", run: func(e *env) {
		e.pull()
		for _, err := range concurrently(16, func(int) error { return e.Service.DeleteImage(e.ctx, e.Image, nil) }) {
			e.oneOf(err, errdefs.IsNotFound)
		}
		e.want(!e.hasImage(e.Image), "the image is still there")
	}},
	{name: "images: a record that another client replaces meanwhile is never answered stale", run: func(e *env) {
		name, first := e.makeImage(made{})
		image, err := e.Service.GetImage(e.ctx, name)
		e.ok(err)
		e.want(image.Target().Digest == first.Digest, "got %s", image.Target().Digest)
		_, second := e.makeImage(made{config: labelled("second")})
		_, err = e.Client.ImageService().Update(e.raw, images.Image{Name: name, Target: second}, "target")
		e.ok(err)
		image, err = e.Service.GetImage(e.ctx, name)
		e.ok(err)
		e.want(image.Target().Digest == second.Digest, "got the old image")
	}},
}
