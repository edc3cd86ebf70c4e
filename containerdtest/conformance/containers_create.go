package conformance

import (
	"maps"
	"strings"

	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctrdkit/containerd"
)

var createCases = []testCase{
	{name: "CreateContainer: an absent image is pulled and unpacked", run: func(e *env) {
		id := e.create()
		e.wantContainer(id)
		e.want(e.hasImage(e.Image) && e.unpacked(e.Image, e.Snapshotter), "the image is not there or not unpacked")
		e.want(e.record(id).Image == e.Image, "the record has image %s", e.record(id).Image)
	}},
	{name: "CreateContainer: an image that is not unpacked is unpacked", run: func(e *env) {
		_, err := e.Service.PullImage(e.ctx, e.Image, &containerd.PullImageOptions{})
		e.ok(err)
		e.wantContainer(e.create())
	}},
	{name: "CreateContainer: an image whose layer is missing is completed", run: func(e *env) {
		_, err := e.Service.PullImage(e.ctx, e.Image, &containerd.PullImageOptions{})
		e.ok(err)
		e.ok(e.Client.ContentStore().Delete(e.raw, e.lastLayer()))
		e.wantContainer(e.create())
	}},
	{name: "CreateContainer: an image without layers gives an empty root file system", run: func(e *env) {
		name, _ := e.makeImage(made{})
		id := e.createWith(containerd.CreateContainerRequest{ImageRef: name}, "/none")
		e.wantSnapshot(id, snapshots.KindActive, "")
	}},
	{name: "CreateContainer: the snapshot has the ID as its key and the image's layers as its parent", run: func(e *env) {
		id := e.create()
		e.wantSnapshot(id, snapshots.KindActive, e.layers())
		record := e.record(id)
		e.want(record.SnapshotKey == id && record.Snapshotter == e.Snapshotter, "the record names %s/%s", record.Snapshotter, record.SnapshotKey)
	}},
	{name: "CreateContainer: SnapshotID is the snapshot's key, passed as it is", run: func(e *env) {
		for _, key := range e.oddKeys() {
			id := e.createWith(containerd.CreateContainerRequest{SnapshotID: key})
			e.want(e.record(id).SnapshotKey == key, "the record names %q, want %q", e.record(id).SnapshotKey, key)
			e.wantSnapshot(key, snapshots.KindActive, e.layers())
			e.want(!e.hasSnapshot(e.Snapshotter, id), "there is a snapshot of the container's ID too")
		}
	}},
	{name: "CreateContainer: Snapshotter is where the image is unpacked and the snapshot is made", run: func(e *env) {
		second := e.secondSnapshotter()
		id := e.createWith(containerd.CreateContainerRequest{Snapshotter: second})
		e.want(e.record(id).Snapshotter == second, "the record names %s", e.record(id).Snapshotter)
		e.want(e.hasSnapshot(second, id), "there is no snapshot in %s", second)
		e.want(len(e.snapshotState(e.Snapshotter)) == 0, "there is something in %s", e.Snapshotter)
		_, err := e.Service.StartTask(e.ctx, id, nil)
		e.ok(err)
	}},
	{name: "CreateContainer: the handle is the stored container's", run: func(e *env) {
		id := e.id()
		c, err := e.Service.CreateContainer(e.ctx, containerd.CreateContainerRequest{ID: id, ImageRef: e.Image, Labels: map[string]string{"a": "b"}})
		e.ok(err)
		info, err := c.Info(e.ctx, client.WithoutRefreshedMetadata)
		e.ok(err)
		stored := e.record(id)
		e.want(c.ID() == id && info.ID == id && info.Labels["a"] == "b" && info.SnapshotKey == stored.SnapshotKey && info.Image == stored.Image,
			"got %+v, stored is %+v", info, stored)
	}},
	{name: "CreateContainer: the longest and oddest IDs that containerd accepts are accepted", run: func(e *env) {
		for _, id := range []string{"a", "A.b_c-d", "0", strings.Repeat("a", 76)} {
			e.wantContainer(e.createWith(containerd.CreateContainerRequest{ID: id}))
		}
	}},
	{name: "CreateContainer: labels are stored as they are given, with nothing of the image's", run: func(e *env) {
		want := map[string]string{"a.b/c": "x y", `quo"te`: `back\slash`, "ü": "ñ\n", "k": strings.Repeat("v", 4095)}
		name, _ := e.makeImage(made{config: ocispec.ImageConfig{Labels: map[string]string{
			"from": "the image", "containerd.io/restart.status": "running", "a.b/c": "other",
		}}})
		id := e.createWith(containerd.CreateContainerRequest{ImageRef: name, Labels: maps.Clone(want)}, "/none")
		e.want(maps.Equal(e.record(id).Labels, want), "got labels %v", e.record(id).Labels)
	}},
	{name: "CreateContainer: the image's stop signal is stored for StopTask", run: func(e *env) {
		name, _ := e.makeImage(made{config: ocispec.ImageConfig{StopSignal: "SIGUSR1"}})
		id := e.createWith(containerd.CreateContainerRequest{ImageRef: name}, "/none")
		e.want(e.record(id).Labels[client.StopSignalLabel] == "SIGUSR1", "got labels %v", e.record(id).Labels)
	}},
	{name: "CreateContainer: an image without a stop signal gives no label", run: func(e *env) {
		e.want(len(e.record(e.create()).Labels) == 0, "there are labels")
	}},
	{name: "CreateContainer: the snapshot and its parents survive garbage collection while the container exists", run: func(e *env) {
		id := e.create()
		e.ok(e.Client.ImageService().Delete(e.raw, e.Image, images.SynchronousDelete()))
		e.collect()
		e.wantContainer(id)
		_, err := e.Service.StartTask(e.ctx, id, nil)
		e.ok(err)
	}},
	{name: "CreateContainer: no lease is left", run: func(e *env) {
		e.create()
		e.noLease()
	}},
	{name: "CreateContainer: the record says which runtime runs it", run: func(e *env) {
		e.want(e.record(e.create()).Runtime.Name != "", "the record names no runtime")
	}},
	{name: "CreateContainer: an ID whose container was deleted can be used again", run: func(e *env) {
		id := e.create()
		e.ok(e.Service.DeleteContainer(e.ctx, id, nil))
		e.wantContainer(e.createWith(containerd.CreateContainerRequest{ID: id}))
	}},
}

// lastLayer returns the digest of the image's topmost layer.
func (e *env) lastLayer() digest.Digest {
	e.Helper()
	image, err := e.Client.GetImage(e.raw, e.Image)
	e.ok(err)
	manifest, err := images.Manifest(e.raw, image.ContentStore(), image.Target(), image.Platform())
	e.ok(err)
	return manifest.Layers[len(manifest.Layers)-1].Digest
}

// createRefusalCases are requests that nothing comes of.
func createRefusalCases() []testCase {
	cases := []testCase{
		{name: "CreateContainer: an existing container is already-exists and stays as it is", run: func(e *env) {
			id := e.createWith(containerd.CreateContainerRequest{Labels: map[string]string{"a": "b"}})
			before := e.state()
			for _, key := range []string{"", id, e.id()} {
				_, err := e.Service.CreateContainer(e.ctx, containerd.CreateContainerRequest{ID: id, ImageRef: e.Image, SnapshotID: key})
				e.class(err, errdefs.IsAlreadyExists, id)
			}
			e.unchanged(before)
		}},
		{name: "CreateContainer: an existing container's running task is not touched", run: func(e *env) {
			id := e.start()
			before := e.state()
			_, err := e.Service.CreateContainer(e.ctx, containerd.CreateContainerRequest{ID: id, ImageRef: e.Image})
			e.class(err, errdefs.IsAlreadyExists, id)
			e.unchanged(before)
		}},
		{name: "CreateContainer: another container's snapshot key is already-exists", run: func(e *env) {
			other, id := e.create(), e.id()
			before := e.state()
			_, err := e.Service.CreateContainer(e.ctx, containerd.CreateContainerRequest{ID: id, ImageRef: e.Image, SnapshotID: other})
			e.snapshotExists(err, id)
			e.unchanged(before)
		}},
		{name: "CreateContainer: an existing active snapshot is already-exists, says so, and stays as it is", run: func(e *env) {
			id := e.prepared()
			before := e.state()
			_, err := e.Service.CreateContainer(e.ctx, containerd.CreateContainerRequest{ID: id, ImageRef: e.Image})
			e.snapshotExists(err, id)
			e.unchanged(before)
		}},
		{name: "CreateContainer: an existing committed snapshot is already-exists, says so, and stays as it is", run: func(e *env) {
			key, id := e.layers(), e.id()
			before := e.state()
			_, err := e.Service.CreateContainer(e.ctx, containerd.CreateContainerRequest{ID: id, ImageRef: e.Image, SnapshotID: key})
			e.snapshotExists(err, id)
			e.unchanged(before)
		}},
		{name: "CreateContainer: a snapshot that PrepareSnapshot made is not taken for a remainder", run: func(e *env) {
			id := e.id()
			e.ok(e.Service.PrepareSnapshot(e.ctx, e.Snapshotter, id, e.layers()))
			before := e.state()
			_, err := e.Service.CreateContainer(e.ctx, containerd.CreateContainerRequest{ID: id, ImageRef: e.Image})
			e.snapshotExists(err, id)
			e.unchanged(before)
		}},
		{name: "CreateContainer: an unknown snapshotter is an error with a class, and nothing is left", run: func(e *env) {
			e.pull()
			e.nothingFrom(containerd.CreateContainerRequest{Snapshotter: "no-such-snapshotter"}, classified)
		}},
		{name: "CreateContainer: a stored image of another platform is refused, naming both", run: func(e *env) {
			name, _ := e.makeImage(made{platform: foreign})
			e.nothingFrom(containerd.CreateContainerRequest{ImageRef: name}, errdefs.IsFailedPrecondition, e.wantNamesPlatforms)
		}},
	}
	for _, field := range []struct {
		name, field string
		req         containerd.CreateContainerRequest
	}{
		{"a label with an empty value", "Labels", withLabel("a", "")},
		{"a label with an empty key", "Labels", withLabel("", "a")},
		{"a label of 4097 bytes", "Labels", withLabel("k", strings.Repeat("v", 4096))},
		{"a label of 1 MB", "Labels", withLabel("k", strings.Repeat("v", 1<<20))},
		{"a label key of 1 MB", "Labels", withLabel(strings.Repeat("k", 1<<20), "v")},
		{"a label value that is not UTF-8", "Labels", withLabel("k", "\xff\xfe")},
		{"a label key that is not UTF-8", "Labels", withLabel("\xff\xfe", "v")},
		{"a label that makes the daemon restart tasks", "Labels", withLabel("containerd.io/restart.status", "running")},
		{"a label that makes the daemon run a program", "Labels", withLabel("containerd.io/restart.loguri", "binary:///bin/true")},
		{"a label that stops garbage collection", "Labels", withLabel("containerd.io/gc.root", "now")},
		{"a label of the CRI plugin", "Labels", withLabel("io.cri-containerd.kind", "container")},
		{"a SnapshotID with NUL", "SnapshotID", containerd.CreateContainerRequest{SnapshotID: "a\x00b"}},
		{"a SnapshotID that is not UTF-8", "SnapshotID", containerd.CreateContainerRequest{SnapshotID: "\xff"}},
		{"a SnapshotID of 1 MB", "SnapshotID", containerd.CreateContainerRequest{SnapshotID: strings.Repeat("a", 1<<20)}},
		{"a Snapshotter with NUL", "Snapshotter", containerd.CreateContainerRequest{Snapshotter: "over\x00layfs"}},
	} {
		cases = append(cases, testCase{name: "CreateContainer: " + field.name + " is an invalid argument and leaves nothing", run: func(e *env) {
			e.invalidCreate(field.req, field.field)
		}})
	}
	return cases
}

func withLabel(key, value string) containerd.CreateContainerRequest {
	return containerd.CreateContainerRequest{Labels: map[string]string{key: value}}
}

// invalidCreate gives the request to both ways of creating.
func (e *env) invalidCreate(req containerd.CreateContainerRequest, field string) {
	e.Helper()
	req.ID, req.ImageRef = e.id(), e.Image
	key := e.prepared()
	before := e.state()
	_, err := e.Service.CreateContainer(e.ctx, req)
	e.invalid(err, req.ID, field)
	if req.SnapshotID == "" {
		req.SnapshotID = key
	}
	_, err = e.Service.CreateContainerFromSnapshot(e.ctx, req)
	e.invalid(err, req.ID, field)
	e.unchanged(before)
}

// nothingFrom checks that a create fails and leaves nothing.
func (e *env) nothingFrom(req containerd.CreateContainerRequest, is func(error) bool, checks ...func(error)) {
	e.Helper()
	req.ID = e.id()
	if req.ImageRef == "" {
		req.ImageRef = e.Image
	}
	before := e.state()
	_, err := e.Service.CreateContainer(e.ctx, req)
	e.class(err, is, req.ID)
	for _, check := range checks {
		check(err)
	}
	e.unchanged(before)
}

func (e *env) snapshotExists(err error, id string) {
	e.Helper()
	e.class(err, errdefs.IsAlreadyExists, id)
	e.want(strings.Contains(err.Error(), "snapshot"), "the error does not say that it is the snapshot: %v", err)
}
