package conformance

import (
	"context"
	"strings"
	"time"

	"github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctrdkit/containerd"
)

var pullCases = []testCase{
	{name: "PullImage: nil options store the image and unpack it into the default snapshotter", run: func(e *env) {
		image, err := e.Service.PullImage(e.ctx, e.Image, nil)
		e.ok(err)
		e.want(image.Name() == e.Image, "the image is called %s", image.Name())
		e.want(e.hasImage(e.Image) && e.unpacked(e.Image, e.Snapshotter), "the image is not there or not unpacked")
	}},
	{name: "PullImage: without Unpack the content is fetched and nothing is unpacked", run: func(e *env) {
		_, err := e.Service.PullImage(e.ctx, e.Image, &containerd.PullImageOptions{Snapshotter: e.Snapshotter})
		e.ok(err)
		e.want(!e.unpacked(e.Image, e.Snapshotter), "the image is unpacked")
		e.wantComplete(e.Image)
	}},
	{name: "PullImage: Snapshotter says where Unpack puts the layers", run: func(e *env) {
		second := e.secondSnapshotter()
		_, err := e.Service.PullImage(e.ctx, e.Image, &containerd.PullImageOptions{Unpack: true, Snapshotter: second})
		e.ok(err)
		e.want(e.unpacked(e.Image, second), "not unpacked into %s", second)
		e.want(!e.unpacked(e.Image, e.Snapshotter), "also unpacked into %s", e.Snapshotter)
	}},
	{name: "PullImage: an unknown snapshotter is an error with a class, and no lease is left", run: func(e *env) {
		_, err := e.Service.PullImage(e.ctx, e.Image, &containerd.PullImageOptions{Unpack: true, Snapshotter: "no-such-snapshotter"})
		e.class(err, classified, e.Image)
	}},
	{name: "PullImage: what was pulled survives garbage collection", run: func(e *env) {
		e.pull()
		e.collect()
		e.wantComplete(e.Image)
		e.want(e.unpacked(e.Image, e.Snapshotter), "the layers are gone")
	}},
	{name: "PullImage: a second pull gives the same image", run: func(e *env) {
		first := e.pull()
		second := e.pull()
		e.want(first.Target().Digest == second.Target().Digest, "got %s and %s", first.Target().Digest, second.Target().Digest)
	}},
	{name: "PullImage: a tag that was moved locally is asked for at the registry again", run: func(e *env) {
		target := e.pull().Target()
		_, other := e.makeImage(made{})
		_, err := e.Client.ImageService().Update(e.raw, images.Image{Name: e.Image, Target: other}, "target")
		e.ok(err)
		e.want(e.pull().Target().Digest == target.Digest, "the tag still means the local image")
	}},
	{name: "PullImage: a digest reference is stored under itself", run: func(e *env) {
		ref := e.repository() + "@" + e.pull().Target().Digest.String()
		e.ok(e.Service.DeleteImage(e.ctx, e.Image, nil))
		_, err := e.Service.PullImage(e.ctx, ref, nil)
		e.ok(err)
		e.wantComplete(ref)
	}},
	{name: "PullImage: a tag beside a digest means nothing", run: func(e *env) {
		dgst := e.pull().Target().Digest.String()
		image, err := e.Service.PullImage(e.ctx, e.repository()+":no-such-tag@"+dgst, nil)
		e.ok(err)
		e.want(image.Name() == e.repository()+"@"+dgst, "the image is called %s", image.Name())
	}},
	{name: "PullImage: a complete digest reference needs no registry", run: func(e *env) {
		dgst := e.pull().Target().Digest.String()
		image, err := e.Service.PullImage(e.ctx, "localhost:1/nowhere@"+dgst, nil)
		e.ok(err)
		e.want(image.Target().Digest.String() == dgst && e.hasImage("localhost:1/nowhere@"+dgst), "got %s", image.Target().Digest)
	}},
	{name: "PullImage: a digest that the registry does not have is not found", run: func(e *env) {
		ref := e.repository() + "@sha256:" + strings.Repeat("0", 64)
		_, err := e.Service.PullImage(e.ctx, ref, nil)
		e.class(err, errdefs.IsNotFound, ref)
	}},
	{name: "PullImage: 16 pulls of one image at once all succeed", run: func(e *env) {
		for _, err := range concurrently(16, func(int) error { return fails(e.Service.PullImage(e.ctx, e.Image, nil)) }) {
			e.ok(err)
		}
		e.wantComplete(e.Image)
	}},
	{name: "PullImage: a context that ends meanwhile leaves no lease, and the next pull works", run: pullCutShort},
	{name: "PullImage: a context that is cancelled during the unpacking leaves no lease, and the next pull works", run: pullCancelledHalfWay},
}

// repository returns the backend's image without its tag.
func (e *env) repository() string {
	at := strings.LastIndex(e.Image, ":")
	if at < strings.LastIndex(e.Image, "/") {
		return e.Image
	}
	return e.Image[:at]
}

// wantComplete checks that everything the image needs on this platform is stored.
func (e *env) wantComplete(name string) {
	e.Helper()
	record, err := e.Client.ImageService().Get(e.raw, name)
	e.ok(err)
	available, _, _, missing, err := images.Check(e.raw, e.Client.ContentStore(), record.Target, platforms.Default())
	e.ok(err)
	e.want(available && len(missing) == 0, "of %s is missing: %v", name, missing)
}

func pullCutShort(e *env) {
	for _, after := range []time.Duration{0, 1, 2, 4, 7, 12, 20, 35, 60, 100} {
		ctx, cancel := context.WithTimeout(e.ctx, after*time.Millisecond)
		var err error
		e.within(after*time.Millisecond+promptly, "the pull", func() { err = fails(e.Service.PullImage(ctx, e.Image, nil)) })
		cancel()
		if err != nil {
			e.class(err, isContextEnd, e.Image)
		}
		e.noLeaseAfter(err)
		if e.hasImage(e.Image) {
			e.ok(e.Client.ImageService().Delete(e.raw, e.Image, images.SynchronousDelete()))
		}
	}
	e.pull()
	e.wantComplete(e.Image)
}

// pullCancelledHalfWay cancels the context when the daemon tells of the first
// layer's snapshot.
func pullCancelledHalfWay(e *env) {
	unpacks := subscribe[*events.SnapshotPrepare](e, "/snapshot/prepare")
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	done := async(func() error { return fails(e.Service.PullImage(ctx, e.Image, nil)) })
	received(e, unpacks)
	cancel()
	var err error
	e.within(promptly, "the pull", func() { err = received(e, done) })
	if err != nil {
		e.class(err, isContextEnd, e.Image)
	}
	e.noLeaseAfter(err)
	e.pull()
	e.wantComplete(e.Image)
}

// noLease checks that no call holds anything.
func (e *env) noLease() {
	e.Helper()
	list, err := e.Client.LeasesService().List(e.raw)
	e.ok(err)
	e.want(len(list) == 0, "leases are left: %v", list)
}

// noLeaseAfter checks the same after a call whose context may have ended. A
// daemon too busy to let go in time is fine where the error says that a lease
// remains: it must be gone soon then.
func (e *env) noLeaseAfter(err error) {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.raw, caseTimeout/3)
	defer cancel()
	for err != nil && strings.Contains(err.Error(), "lease") {
		list, listErr := e.Client.LeasesService().List(ctx)
		if listErr != nil || len(list) == 0 {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond): // nothing tells of a lease's end
		}
	}
	e.noLease()
}

// pullRefusalCases pull by digest what a case stored itself.
var pullRefusalCases = []testCase{
	{name: "PullImage: a registry that can't be reached is an error with a class, and never not-found", run: func(e *env) {
		ref := unreachable(e.id())
		_, err := e.Service.PullImage(e.ctx, ref, nil)
		e.class(err, func(err error) bool { return classified(err) && !errdefs.IsNotFound(err) && !errdefs.IsInternal(err) }, ref)
		e.want(!e.hasImage(ref), "an image was stored")
	}},
	{name: "PullImage: a failed pull leaves the image that was stored under the name", run: func(e *env) {
		name, target := e.makeImage(made{})
		_, err := e.Service.PullImage(e.ctx, name, nil)
		e.class(err, classified, name)
		stored, err := e.Client.ImageService().Get(e.raw, name)
		e.ok(err)
		e.want(stored.Target.Digest == target.Digest, "the image has become %s", stored.Target.Digest)
	}},
	{name: "PullImage: a single manifest of another platform is refused, naming both", run: func(e *env) {
		e.wantPlatformRefused(made{platform: foreign})
	}},
	{name: "PullImage: a configuration that contradicts the index is refused, naming both", run: func(e *env) {
		claims := platforms.DefaultSpec()
		e.wantPlatformRefused(made{platform: foreign, claims: &claims})
	}},
	{name: "PullImage: an index without this platform is refused with a class", run: func(e *env) {
		_, target := e.makeImage(made{platform: foreign, claims: &foreign})
		ref := "localhost:1/index@" + target.Digest.String()
		_, err := e.Service.PullImage(e.ctx, ref, nil)
		e.class(err, classified, ref)
		e.want(!e.hasImage(ref), "the image was stored")
	}},
	{name: "PullImage: addresses in a manifest are not followed", run: pullForeignLayer},
}

// foreign is a platform that no test machine has.
var foreign = ocispec.Platform{OS: "linux", Architecture: "mips64"}

func (e *env) wantPlatformRefused(m made) {
	e.Helper()
	_, target := e.makeImage(m)
	ref := "localhost:1/foreign@" + target.Digest.String()
	_, err := e.Service.PullImage(e.ctx, ref, nil)
	e.class(err, errdefs.IsFailedPrecondition, ref)
	e.wantNamesPlatforms(err)
	e.want(!e.hasImage(ref), "the image was stored")
}

func (e *env) wantNamesPlatforms(err error) {
	e.Helper()
	for _, want := range []string{foreign.Architecture, platforms.DefaultSpec().Architecture} {
		e.want(strings.Contains(err.Error(), want), "the error does not name %s: %v", want, err)
	}
}
