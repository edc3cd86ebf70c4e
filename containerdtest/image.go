package containerdtest

import (
	"archive/tar"
	"cmp"
	"context"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/internal/imageref"
	"github.com/ctrdkit/containerd/internal/testimage"
)

// Image describes an image for [Fake.AddImage]. Its zero value is an image with
// the built-in commands, whose command is "pause", which waits for SIGTERM.
type Image struct {
	// Files are the image's files by absolute path, with their content. A file
	// that begins with "#!" is executable.
	Files map[string]string
	// Env is added to PATH=/bin.
	Env []string
	// Entrypoint and Cmd are the command line.
	Entrypoint, Cmd []string
	// User, WorkingDir, StopSignal and Labels are those of the configuration.
	User, WorkingDir, StopSignal string
	Labels                       map[string]string
	// Empty leaves out the built-in commands, PATH, /etc/passwd and /tmp. Then
	// only scripted programs run.
	Empty bool
}

// AddImage stores an image in the service's namespace under a reference,
// normalised as a pull does, in place of one that is there. The image is not
// unpacked. It fails the test if the reference is not valid.
func (f *Fake) AddImage(ref string, image Image) {
	f.t.Helper()
	f.AddImageTo(f.DefaultService, ref, image)
}

// AddImageTo is AddImage for a service made by [Fake.Open].
func (f *Fake) AddImageTo(svc *containerd.DefaultService, ref string, image Image) {
	f.t.Helper()
	addImage(f.t, svc, ref, image, baseFiles())
}

// addImage stores an image that has the files of base unless it is to be empty.
func addImage(t T, svc *containerd.DefaultService, ref string, image Image, base []testimage.File) {
	t.Helper()
	name, err := imageref.Normalize(ref)
	if err != nil {
		t.Fatalf("adding image %s: %v", ref, err)
	}
	made, err := testimage.Make(image.description(base))
	if err == nil {
		err = store(svc, name, made)
	}
	if err != nil {
		t.Fatalf("adding image %s: %v", name, err)
	}
}

// description is the image as an OCI image of one layer.
func (i Image) description(base []testimage.File) testimage.Image {
	var files []testimage.File
	config := ocispec.ImageConfig{
		User: i.User, WorkingDir: i.WorkingDir, StopSignal: i.StopSignal, Labels: i.Labels,
		Env: i.Env, Entrypoint: i.Entrypoint, Cmd: i.Cmd,
	}
	if !i.Empty {
		files = base
		config.Env = append([]string{"PATH=/bin"}, i.Env...)
		if len(i.Entrypoint)+len(i.Cmd) == 0 {
			config.Cmd = []string{"/bin/pause"}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(i.Files)) {
		file := testimage.File{Path: strings.TrimPrefix(path.Clean("/"+name), "/"), Content: []byte(i.Files[name])}
		if strings.HasPrefix(i.Files[name], "#!") {
			file.Mode = 0o755
		}
		files = append(files, file)
	}
	return testimage.Image{Config: config, Layers: []testimage.Layer{{Files: withParents(files), Compression: testimage.None}}}
}

// baseFiles are what the built-in commands want to find.
func baseFiles() []testimage.File {
	return []testimage.File{
		{Path: "tmp/", Type: tar.TypeDir, Mode: 0o1777},
		{Path: "etc/passwd", Content: []byte("root:x:0:0:root:/root:/bin/sh\n")},
		{Path: "etc/group", Content: []byte("root:x:0:\n")},
		{Path: "bin/" + builtinName, Mode: 0o755, Content: []byte(builtinFile)},
	}
}

// withParents adds the directories above the files that have no entry.
func withParents(files []testimage.File) []testimage.File {
	made := map[string]bool{".": true}
	var all []testimage.File
	var add func(dir string)
	add = func(dir string) {
		if made[dir] {
			return
		}
		made[dir] = true
		add(path.Dir(dir))
		all = append(all, testimage.File{Path: dir + "/", Type: tar.TypeDir})
	}
	for _, f := range files {
		name := strings.TrimSuffix(f.Path, "/")
		add(path.Dir(name))
		made[name] = true
		all = append(all, f)
	}
	return all
}

// store writes the blobs and the record of an image.
func store(svc *containerd.DefaultService, name string, made *testimage.Content) (err error) {
	c := svc.Client()
	ctx, cancel := context.WithCancel(namespaces.WithNamespace(context.Background(), svc.Namespace()))
	defer cancel()
	ctx, done, err := c.WithLease(ctx)
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, done(context.WithoutCancel(ctx))) }()
	blobs := c.ContentStore()
	for dgst, blob := range made.Blobs {
		desc := ocispec.Descriptor{Digest: dgst, Size: int64(len(blob))}
		if err := content.WriteBlob(ctx, blobs, "add-"+dgst.String(), strings.NewReader(string(blob)), desc); err != nil {
			return err
		}
	}
	handler := images.SetChildrenMappedLabels(blobs, images.ChildrenHandler(blobs), nil)
	if err := images.Walk(ctx, handler, made.Target); err != nil {
		return err
	}
	record := images.Image{Name: name, Target: made.Target}
	if _, err := c.ImageService().Create(ctx, record); !errdefs.IsAlreadyExists(err) {
		return err
	}
	_, err = c.ImageService().Update(ctx, record)
	return err
}
