package containerd

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	contentapi "github.com/containerd/containerd/api/services/content/v1"
	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	leasesapi "github.com/containerd/containerd/api/services/leases/v1"
	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	imagespecs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
)

const (
	testSnapshotter = "overlayfs"
	testImage       = "registry.test/app:1"
	// labelTarget names the committed snapshot that an unpacked layer becomes.
	labelTarget = "containerd.io/snapshot.ref"
)

// stores is the canned state of everything but tasks.
type stores struct {
	blobs      map[string][]byte
	images     map[string]*imagesapi.Image
	containers map[string]*containersapi.Container
	snapshots  map[string]*snapshotsapi.Info // by snapshotter and key
	leases     map[string]*leasesapi.Lease
	resources  map[string][]*leasesapi.Resource // by lease
}

// addCanned adds the image testImage, unpacked, and on it: the container "web"
// with a running task, "idle" without one, "done" with a stopped one and its
// ended exec "old", and the active snapshot "kept" and committed "v0" without containers.
func (d *daemon) addCanned() {
	d.stores = stores{
		blobs:      map[string][]byte{},
		images:     map[string]*imagesapi.Image{},
		containers: map[string]*containersapi.Container{},
		snapshots:  map[string]*snapshotsapi.Info{},
		leases:     map[string]*leasesapi.Lease{},
		resources:  map[string][]*leasesapi.Resource{},
	}
	d.taskStates = taskStates{}
	d.addImage(testImage, ocispec.Image{
		Platform: platforms.DefaultSpec(),
		Config:   ocispec.ImageConfig{Entrypoint: []string{"/app"}, User: "1000", StopSignal: "SIGINT"},
	})
	d.addSnapshot("v0", "", snapshotsapi.Kind_COMMITTED, nil)
	d.addSnapshot("kept", "v0", snapshotsapi.Kind_ACTIVE, nil)
	for _, id := range []string{"web", "idle", "done"} {
		d.addSnapshot(id, "v0", snapshotsapi.Kind_ACTIVE, nil)
		d.addContainer(id, id)
	}
	d.addTask("web", running)
	d.addTask("done", stopped)
	d.taskStates["done/old"] = d.newTask("")
	d.taskStates["done/old"].end(7)
}

func (d *daemon) addBlob(mediaType string, v any) ocispec.Descriptor {
	data, err := json.Marshal(v)
	require.NoError(d.t, err)
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	d.stores.blobs[desc.Digest.String()] = data
	return desc
}

// addImage stores an image of one layer, unpacked, and returns its target.
func (d *daemon) addImage(name string, config ocispec.Image) ocispec.Descriptor {
	config.RootFS = ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromString(name)}}
	layer := d.addBlob(ocispec.MediaTypeImageLayer, "layer of "+name)
	target := d.addBlob(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: imagespecs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    d.addBlob(ocispec.MediaTypeImageConfig, config),
		Layers:    []ocispec.Descriptor{layer},
	})
	d.stores.images[name] = &imagesapi.Image{Name: name, Target: &types.Descriptor{
		MediaType: target.MediaType, Digest: target.Digest.String(), Size: target.Size,
	}}
	d.addSnapshot(identity.ChainID(config.RootFS.DiffIDs).String(), "", snapshotsapi.Kind_COMMITTED, nil)
	return target
}

func (d *daemon) addSnapshot(key, parent string, kind snapshotsapi.Kind, labels map[string]string) {
	d.stores.snapshots[testSnapshotter+" "+key] = &snapshotsapi.Info{Name: key, Parent: parent, Kind: kind, Labels: labels}
}

func (d *daemon) addContainer(id, snapshot string) {
	spec := `{"process":{"args":["/app"],"env":["PATH=/bin","A=1"],"cwd":"/"}}`
	d.stores.containers[id] = &containersapi.Container{
		ID:          id,
		Image:       testImage,
		Snapshotter: testSnapshotter,
		SnapshotKey: snapshot,
		Runtime:     &containersapi.Container_Runtime{Name: "io.containerd.runc.v2"},
		Spec:        &anypb.Any{TypeUrl: "types.containerd.io/opencontainers/runtime-spec/1/Spec", Value: []byte(spec)},
	}
}

// state lists everything that is there, to be compared.
func (d *daemon) state() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := d.taskStates.list()
	for id, c := range d.stores.containers {
		list = append(list, "container "+id+" "+string(c.GetSpec().GetValue()))
	}
	for key, info := range d.stores.snapshots {
		list = append(list, "snapshot "+key+" "+info.GetKind().String())
	}
	for name := range d.stores.images {
		list = append(list, "image "+name)
	}
	for id := range d.stores.leases {
		list = append(list, "lease "+id)
	}
	slices.Sort(list)
	return list
}

func get[V any](m map[string]V, key string) (V, error) {
	v, ok := m[key]
	if !ok {
		return v, errdefs.ErrNotFound
	}
	return v, nil
}

func (d *daemon) serveImages() {
	e := d.Images.EXPECT()
	e.Get(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Images/Get", func(r *imagesapi.GetImageRequest) (*imagesapi.GetImageResponse, error) {
		image, err := get(d.stores.images, r.GetName())
		return &imagesapi.GetImageResponse{Image: image}, err
	})).Maybe()
	e.List(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Images/List", func(r *imagesapi.ListImagesRequest) (*imagesapi.ListImagesResponse, error) {
		resp := &imagesapi.ListImagesResponse{}
		for name, image := range d.stores.images {
			if len(r.GetFilters()) == 0 || slices.Contains(r.GetFilters(), `name=="`+name+`"`) {
				resp.Images = append(resp.Images, image)
			}
		}
		return resp, nil
	})).Maybe()
	e.Create(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Images/Create", func(r *imagesapi.CreateImageRequest) (*imagesapi.CreateImageResponse, error) {
		if d.stores.images[r.GetImage().GetName()] != nil {
			return nil, errdefs.ErrAlreadyExists
		}
		d.stores.images[r.GetImage().GetName()] = r.GetImage()
		return &imagesapi.CreateImageResponse{Image: r.GetImage()}, nil
	})).Maybe()
	e.Update(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Images/Update", func(r *imagesapi.UpdateImageRequest) (*imagesapi.UpdateImageResponse, error) {
		d.stores.images[r.GetImage().GetName()] = r.GetImage()
		return &imagesapi.UpdateImageResponse{Image: r.GetImage()}, nil
	})).Maybe()
	e.Delete(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Images/Delete", func(r *imagesapi.DeleteImageRequest) (*emptypb.Empty, error) {
		_, err := get(d.stores.images, r.GetName())
		delete(d.stores.images, r.GetName())
		return &emptypb.Empty{}, err
	})).Maybe()
}

// serveContent has every blob already: nothing is fetched.
func (d *daemon) serveContent() {
	info := func(dgst string) (*contentapi.Info, error) {
		blob, err := get(d.stores.blobs, dgst)
		return &contentapi.Info{Digest: dgst, Size: int64(len(blob))}, err
	}
	e := d.Content.EXPECT()
	e.Info(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Content/Info", func(r *contentapi.InfoRequest) (*contentapi.InfoResponse, error) {
		i, err := info(r.GetDigest())
		return &contentapi.InfoResponse{Info: i}, err
	})).Maybe()
	e.Update(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Content/Update", func(r *contentapi.UpdateRequest) (*contentapi.UpdateResponse, error) {
		i, err := info(r.GetInfo().GetDigest())
		return &contentapi.UpdateResponse{Info: i}, err
	})).Maybe()
	e.Read(mock.Anything, mock.Anything).RunAndReturn(func(r *contentapi.ReadContentRequest, stream contentapi.Content_ReadServer) error {
		d.mu.Lock()
		blob, err := get(d.stores.blobs, r.GetDigest())
		d.mu.Unlock()
		if err != nil {
			return err
		}
		end := min(r.GetOffset()+r.GetSize(), int64(len(blob)))
		return stream.Send(&contentapi.ReadContentResponse{Offset: r.GetOffset(), Data: blob[r.GetOffset():end]})
	}).Maybe()
	e.Write(mock.Anything).RunAndReturn(func(stream contentapi.Content_WriteServer) error {
		if _, err := stream.Recv(); err != nil {
			return err
		}
		return errdefs.ErrAlreadyExists
	}).Maybe()
}

func (d *daemon) serveContainers() {
	e := d.Containers.EXPECT()
	e.Get(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Containers/Get", func(r *containersapi.GetContainerRequest) (*containersapi.GetContainerResponse, error) {
		c, err := get(d.stores.containers, r.GetID())
		return &containersapi.GetContainerResponse{Container: proto.CloneOf(c)}, err
	})).Maybe()
	e.Create(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Containers/Create", func(r *containersapi.CreateContainerRequest) (*containersapi.CreateContainerResponse, error) {
		if d.stores.containers[r.GetContainer().GetID()] != nil {
			return nil, errdefs.ErrAlreadyExists
		}
		d.stores.containers[r.GetContainer().GetID()] = r.GetContainer()
		return &containersapi.CreateContainerResponse{Container: proto.CloneOf(r.GetContainer())}, nil
	})).Maybe()
	e.Update(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Containers/Update", func(r *containersapi.UpdateContainerRequest) (*containersapi.UpdateContainerResponse, error) {
		c, err := get(d.stores.containers, r.GetContainer().GetID())
		if err == nil {
			updateContainer(c, r)
		}
		return &containersapi.UpdateContainerResponse{Container: proto.CloneOf(c)}, err
	})).Maybe()
	e.Delete(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Containers/Delete", func(r *containersapi.DeleteContainerRequest) (*emptypb.Empty, error) {
		_, err := get(d.stores.containers, r.GetID())
		delete(d.stores.containers, r.GetID())
		return &emptypb.Empty{}, err
	})).Maybe()
	e.ListStream(mock.Anything, mock.Anything).RunAndReturn(func(r *containersapi.ListContainersRequest, stream containersapi.Containers_ListStreamServer) error {
		d.mu.Lock()
		list := slices.Collect(maps.Values(d.stores.containers))
		d.mu.Unlock()
		for _, c := range list {
			if err := stream.Send(&containersapi.ListContainerMessage{Container: c}); err != nil {
				return err
			}
		}
		return nil
	}).Maybe()
}

// updateContainer changes the fields that a request names.
func updateContainer(c *containersapi.Container, r *containersapi.UpdateContainerRequest) {
	for _, path := range r.GetUpdateMask().GetPaths() {
		key, isLabel := strings.CutPrefix(path, "labels.")
		switch value := r.GetContainer().GetLabels()[key]; {
		case !isLabel: // the spec
			c.Spec = r.GetContainer().GetSpec()
		case value == "": // which the daemon drops
			delete(c.Labels, key)
		default:
			if c.Labels == nil {
				c.Labels = map[string]string{}
			}
			c.Labels[key] = value
		}
	}
}

func (d *daemon) serveSnapshots() {
	e := d.Snapshots.EXPECT()
	at := func(snapshotter, key string) string { return snapshotter + " " + key }
	mounts := func() []*types.Mount {
		return []*types.Mount{{Type: "bind", Source: d.rootfs, Options: []string{"rbind"}}}
	}
	e.Stat(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Snapshots/Stat", func(r *snapshotsapi.StatSnapshotRequest) (*snapshotsapi.StatSnapshotResponse, error) {
		info, err := get(d.stores.snapshots, at(r.GetSnapshotter(), r.GetKey()))
		return &snapshotsapi.StatSnapshotResponse{Info: proto.CloneOf(info)}, err
	})).Maybe()
	e.Mounts(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Snapshots/Mounts", func(r *snapshotsapi.MountsRequest) (*snapshotsapi.MountsResponse, error) {
		_, err := get(d.stores.snapshots, at(r.GetSnapshotter(), r.GetKey()))
		return &snapshotsapi.MountsResponse{Mounts: mounts()}, err
	})).Maybe()
	e.Prepare(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Snapshots/Prepare", func(r *snapshotsapi.PrepareSnapshotRequest) (*snapshotsapi.PrepareSnapshotResponse, error) {
		switch key := at(r.GetSnapshotter(), r.GetKey()); {
		case d.stores.snapshots[key] != nil, d.stores.snapshots[at(r.GetSnapshotter(), r.GetLabels()[labelTarget])] != nil:
			return nil, errdefs.ErrAlreadyExists
		case r.GetParent() != "" && d.stores.snapshots[at(r.GetSnapshotter(), r.GetParent())] == nil:
			return nil, errdefs.ErrNotFound
		default:
			d.stores.snapshots[key] = &snapshotsapi.Info{Name: r.GetKey(), Parent: r.GetParent(), Kind: snapshotsapi.Kind_ACTIVE, Labels: r.GetLabels()}
			return &snapshotsapi.PrepareSnapshotResponse{Mounts: mounts()}, nil
		}
	})).Maybe()
	e.Commit(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Snapshots/Commit", func(r *snapshotsapi.CommitSnapshotRequest) (*emptypb.Empty, error) {
		info, err := get(d.stores.snapshots, at(r.GetSnapshotter(), r.GetKey()))
		switch {
		case err != nil:
			return nil, err
		case d.stores.snapshots[at(r.GetSnapshotter(), r.GetName())] != nil:
			return nil, errdefs.ErrAlreadyExists
		}
		delete(d.stores.snapshots, at(r.GetSnapshotter(), r.GetKey()))
		d.stores.snapshots[at(r.GetSnapshotter(), r.GetName())] = &snapshotsapi.Info{Name: r.GetName(), Parent: info.GetParent(), Kind: snapshotsapi.Kind_COMMITTED, Labels: r.GetLabels()}
		return &emptypb.Empty{}, nil
	})).Maybe()
	e.Update(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Snapshots/Update", func(r *snapshotsapi.UpdateSnapshotRequest) (*snapshotsapi.UpdateSnapshotResponse, error) {
		info, err := get(d.stores.snapshots, at(r.GetSnapshotter(), r.GetInfo().GetName()))
		if err == nil {
			info.Labels = r.GetInfo().GetLabels()
		}
		return &snapshotsapi.UpdateSnapshotResponse{Info: proto.CloneOf(info)}, err
	})).Maybe()
	e.Remove(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Snapshots/Remove", func(r *snapshotsapi.RemoveSnapshotRequest) (*emptypb.Empty, error) {
		_, err := get(d.stores.snapshots, at(r.GetSnapshotter(), r.GetKey()))
		delete(d.stores.snapshots, at(r.GetSnapshotter(), r.GetKey()))
		return &emptypb.Empty{}, err
	})).Maybe()
}

func (d *daemon) serveLeases() {
	e := d.Leases.EXPECT()
	e.Create(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Leases/Create", func(r *leasesapi.CreateRequest) (*leasesapi.CreateResponse, error) {
		lease := &leasesapi.Lease{ID: r.GetID(), Labels: r.GetLabels()}
		d.stores.leases[r.GetID()] = lease
		return &leasesapi.CreateResponse{Lease: lease}, nil
	})).Maybe()
	e.Delete(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Leases/Delete", func(r *leasesapi.DeleteRequest) (*emptypb.Empty, error) {
		_, err := get(d.stores.leases, r.GetID())
		delete(d.stores.leases, r.GetID())
		delete(d.stores.resources, r.GetID())
		return &emptypb.Empty{}, err
	})).Maybe()
	e.List(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Leases/List", func(r *leasesapi.ListRequest) (*leasesapi.ListResponse, error) {
		resp := &leasesapi.ListResponse{}
		for _, lease := range d.stores.leases {
			label := strings.TrimSuffix(strings.TrimPrefix(strings.Join(r.GetFilters(), ""), `labels."`), `"`)
			if label == "" || lease.GetLabels()[label] != "" {
				resp.Leases = append(resp.Leases, lease)
			}
		}
		return resp, nil
	})).Maybe()
	e.ListResources(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Leases/ListResources", func(r *leasesapi.ListResourcesRequest) (*leasesapi.ListResourcesResponse, error) {
		_, err := get(d.stores.leases, r.GetID())
		return &leasesapi.ListResourcesResponse{Resources: d.stores.resources[r.GetID()]}, err
	})).Maybe()
	e.AddResource(mock.Anything, mock.Anything).RunAndReturn(serve(d, "Leases/AddResource", func(r *leasesapi.AddResourceRequest) (*emptypb.Empty, error) {
		_, err := get(d.stores.leases, r.GetID())
		d.stores.resources[r.GetID()] = append(d.stores.resources[r.GetID()], r.GetResource())
		return &emptypb.Empty{}, err
	})).Maybe()
}
