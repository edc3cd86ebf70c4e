package containerdtest_test

import (
	"bytes"
	"fmt"
	"testing"

	archiveexp "github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdtest"
)

func TestAddImageNormalisesItsReference(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, ref := range []string{"nginx", "library/redis:7", "ghcr.io/a/b@" + digest.FromString("x").String()} {
		w.AddImage(ref, containerdtest.Image{})
		_, err := w.GetImage(w.ctx, ref)
		require.NoError(t, err)
	}
	list, err := w.plain.ListImages(w.ctx)
	require.NoError(t, err)
	var names []string
	for _, image := range list {
		names = append(names, image.Name())
	}
	assert.ElementsMatch(t, []string{
		"docker.io/library/app:latest", "docker.io/library/nginx:latest", "docker.io/library/redis:7",
		"ghcr.io/a/b@" + digest.FromString("x").String(),
	}, names)

	j := &judged{T: t}
	func() {
		defer func() { _ = recover() }()
		containerdtest.New(&fatal{j}).AddImage("no:no:no", containerdtest.Image{})
	}()
	assert.Contains(t, fmt.Sprint(j.failures), "no:no:no")
	j.end()
}

// fatal is a test whose Fatalf panics.
type fatal struct{ *judged }

func (f *fatal) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	panic("fatal")
}

func TestAddImageReplacesAnImage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	version := func(id string) string {
		task := w.startIn(w.createFrom("versioned", id, []string{"pause"}))
		out, _, _ := w.sh(task, "cat /etc/version")
		return out
	}
	w.AddImage("versioned", containerdtest.Image{Files: map[string]string{"/etc/version": "1"}})
	assert.Equal(t, "1", version("first"))
	w.AddImage("versioned", containerdtest.Image{Files: map[string]string{"/etc/version": "2"}})
	assert.Equal(t, "2", version("second"))
	w.AddImage("versioned", containerdtest.Image{Files: map[string]string{"/etc/version": "2"}})
	assert.Equal(t, "2", version("third"))
}

func TestAnImagesConfigurationIsItsContainers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.AddImage("full", containerdtest.Image{
		Files:      map[string]string{"/etc/passwd": "root:x:0:0::/root:/bin/sh\nwww:x:33:34::/srv:/bin/sh\n", "etc/deep/er/file": "content"},
		Env:        []string{"A=1", "B=two words"},
		Entrypoint: []string{"sh", "-c", `echo "$1"; pwd; id; printenv A B HOME; cat /etc/deep/er/file`},
		Cmd:        []string{"zero", "one"},
		User:       "www", WorkingDir: "/srv/data", StopSignal: "SIGUSR1",
		Labels: map[string]string{"org.example": "yes"},
	})
	c := w.createFrom("full", "web", nil)
	r := w.attach(c)
	assert.Equal(t, 0, r.code(), r.errs.String())
	assert.Equal(t, "one\n/srv/data\nuid=33 gid=34 groups=34\n1\ntwo words\n/srv\ncontent", r.out.String())
	info, err := c.Info(w.ctx)
	require.NoError(t, err)
	assert.Equal(t, "SIGUSR1", info.Labels["io.containerd.image.config.stop-signal"])
	image, err := w.GetImage(w.ctx, "full")
	require.NoError(t, err)
	spec, err := image.Spec(w.ctx)
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"org.example": "yes"}, spec.Config.Labels)
}

func TestAnEmptyImageHasNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.AddImage("empty", containerdtest.Image{Empty: true, Cmd: []string{"server"}})
	image, err := w.GetImage(w.ctx, "empty")
	require.NoError(t, err)
	spec, err := image.Spec(w.ctx)
	require.NoError(t, err)
	assert.Empty(t, spec.Config.Env)
	assert.Equal(t, []string{"server"}, spec.Config.Cmd)
	_, err = w.createFrom("empty", "web", nil).NewTask(w.ctx, cio.NullIO)
	require.ErrorContains(t, err, `exec: "server": executable file not found in $PATH`)
}

func TestTheZeroImageWaitsForSIGTERM(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.startIn(w.create("web"))
	require.NoError(t, w.StopTask(w.ctx, "web", nil), "though it was started a moment ago")
	assert.Equal(t, 0, w.await(task))
	assert.Equal(t, 0, w.await(w.start("job", "sh", "-c", "cd /tmp && ls /bin/sh && sh -c true")))
}

func TestAScriptRunsByItsFirstLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.AddImage("scripts", containerdtest.Image{Files: map[string]string{
		"/bin/greet":     "#!/bin/sh\necho hello $1; exit 5\n",
		"/opt/nested":    "#!/bin/greet\n",
		"/opt/app":       "#!/bin/app -x\n",
		"/opt/circle":    "#!/opt/circle\n",
		"/opt/plain.txt": "no script",
	}})
	w.Handle(containerdtest.Command("app"), says("played"))
	task := w.startIn(w.createFrom("scripts", "web", []string{"pause"}))

	r := w.exec(task, "script", "greet", "you")
	assert.Equal(t, 5, r.code())
	assert.Equal(t, "hello you\n", r.out.String())
	out, _, code := w.sh(task, "/opt/nested; greet me")
	assert.Equal(t, "hello /opt/nested\nhello me\n", out)
	assert.Equal(t, 5, code)
	p := w.exec(task, "app", "/opt/app")
	assert.Equal(t, 0, p.code())
	assert.Equal(t, "played\n", p.out.String())
	_, _, code = w.sh(task, "/opt/plain.txt")
	assert.Equal(t, 126, code)
	circle, err := task.Exec(w.ctx, "circle", w.process(task, "/opt/circle"), cio.NullIO)
	require.NoError(t, err)
	require.ErrorContains(t, circle.Start(w.ctx), "exec /opt/circle: exec format error")
}

func TestContainersOfOneImageDontShareTheirFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	web, db := w.start("web", "pause"), w.start("db", "pause")
	_, _, code := w.sh(web, "echo mine >/etc/passwd; rm /bin/builtin")
	assert.Equal(t, 0, code)
	out, _, _ := w.sh(db, "cat /etc/passwd")
	assert.Contains(t, out, "root")

	require.NoError(t, w.StopTask(w.ctx, "web", nil))
	require.NoError(t, w.CommitSnapshot(w.ctx, "overlayfs", "committed", "web"))
	require.NoError(t, w.PrepareSnapshot(w.ctx, "overlayfs", "copy", "committed"))
	_, err := w.CreateContainerFromSnapshot(w.ctx, containerd.CreateContainerRequest{ID: "copy", ImageRef: "app", SnapshotID: "copy"})
	require.NoError(t, err)
	_, err = w.StartTask(w.ctx, "copy", nil)
	assert.True(t, errdefs.IsNotFound(err), "its commands were removed: %v", err)
}

func TestImagesCanBeExportedAndImported(t *testing.T) {
	t.Parallel()
	fake, other := containerdtest.New(t), containerdtest.New(t)
	fake.AddImage("app", containerdtest.Image{Files: map[string]string{"/a": "b"}})
	ctx := namespaces.WithNamespace(t.Context(), containerd.DefaultNamespace)
	image, err := fake.GetImage(ctx, "app")
	require.NoError(t, err)
	var archive bytes.Buffer
	require.NoError(t, fake.Client().Export(ctx, &archive, archiveexp.WithImage(fake.Client().ImageService(), image.Name())))

	made, err := other.Client().Import(ctx, &archive)

	require.NoError(t, err)
	require.Len(t, made, 1)
	assert.Equal(t, image.Target().Digest, made[0].Target.Digest)
	_, err = other.CreateContainer(ctx, containerd.CreateContainerRequest{ID: "web", ImageRef: "app"})
	require.NoError(t, err)
}

func TestAnImageThatIsNotThereIsNotLookedForOnTheInternet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, ref := range []string{"nosuch:1", "registry.invalid/a/b:1"} {
		_, err := w.CreateContainer(w.ctx, containerd.CreateContainerRequest{ID: "web", ImageRef: ref})
		require.ErrorContains(t, err, "Fake.AddImage")
		assert.True(t, errdefs.IsNotFound(err), "%v", err)
		_, err = w.PullImage(w.ctx, ref, nil)
		assert.True(t, errdefs.IsNotFound(err), "%v", err)
	}
}
