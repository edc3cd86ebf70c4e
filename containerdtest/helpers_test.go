package containerdtest_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs/pkg/errgrpc"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/status"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/containerdtest"
	"github.com/ctrdkit/containerd/internal/testimage"
)

// testLimit bounds what a test waits for, so that a hang is a failure.
const testLimit = 2 * time.Minute

// pause is between two looks at what there is no event for.
const pause = time.Millisecond

// world is a fake with the image "app", and a plain client of it.
type world struct {
	*containerdtest.Fake
	t     *testing.T
	plain *client.Client
	ctx   context.Context // in the service's namespace
}

func newWorld(t *testing.T, opts ...containerdtest.Option) *world {
	t.Helper()
	fake := containerdtest.New(t, opts...)
	fake.AddImage("app", containerdtest.Image{})
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	t.Cleanup(cancel)
	return &world{fake, t, fake.NewClient(), namespaces.WithNamespace(ctx, containerd.DefaultNamespace)}
}

// pull pulls an image of one layer with the files from a registry on loopback,
// and returns its reference.
func (w *world) pull(files ...testimage.File) string {
	w.t.Helper()
	return w.pullLayers(testimage.Layer{Files: files})
}

func (w *world) pullLayers(layers ...testimage.Layer) string {
	w.t.Helper()
	made, err := testimage.Make(testimage.Image{
		Layers: layers, Config: ocispec.ImageConfig{Env: []string{"PATH=/bin"}, Cmd: []string{"server"}},
	})
	require.NoError(w.t, err)
	registry := testimage.NewRegistry()
	w.t.Cleanup(registry.Close)
	ref := registry.Push("made:v1", made)
	_, err = w.PullImage(w.ctx, ref, &containerd.PullImageOptions{Unpack: true})
	require.NoError(w.t, err)
	return ref
}

// create makes a container of the image "app", with args or the image's command.
func (w *world) create(id string, args ...string) client.Container {
	w.t.Helper()
	return w.createFrom("app", id, args)
}

func (w *world) createFrom(image, id string, args []string, opts ...oci.SpecOpts) client.Container {
	w.t.Helper()
	if len(args) > 0 {
		opts = append(opts, oci.WithProcessArgs(args...))
	}
	_, err := w.CreateContainer(w.ctx, containerd.CreateContainerRequest{ID: id, ImageRef: image, SpecOpts: opts})
	require.NoError(w.t, err)
	c, err := w.plain.LoadContainer(w.ctx, id)
	require.NoError(w.t, err)
	return c
}

// start makes a container and runs it without streams.
func (w *world) start(id string, args ...string) client.Task {
	w.t.Helper()
	return w.startIn(w.create(id, args...))
}

func (w *world) startIn(c client.Container) client.Task {
	w.t.Helper()
	task, err := c.NewTask(w.ctx, cio.NullIO)
	require.NoError(w.t, err)
	require.NoError(w.t, task.Start(w.ctx))
	return task
}

// running is a process that was started, with its streams.
type running struct {
	client.Process
	w         *world
	exit      <-chan client.ExitStatus
	in        *io.PipeWriter
	taken     chan struct{} // closed when the client has passed all input on
	out, errs *output
}

// attach starts a container's task with streams.
func (w *world) attach(c client.Container, opts ...cio.Opt) *running {
	w.t.Helper()
	r, creator := w.streams(opts)
	task, err := c.NewTask(w.ctx, creator)
	require.NoError(w.t, err)
	return r.begin(task)
}

// exec starts a process with streams in a task.
func (w *world) exec(task client.Task, id string, args ...string) *running {
	w.t.Helper()
	return w.execAs(task, id, w.process(task, args...))
}

func (w *world) execAs(task client.Task, id string, spec *specs.Process, opts ...cio.Opt) *running {
	w.t.Helper()
	r, creator := w.streams(opts)
	p, err := task.Exec(w.ctx, id, spec, creator)
	require.NoError(w.t, err)
	return r.begin(p)
}

// process returns the process settings of a task with other arguments.
func (w *world) process(task client.Task, args ...string) *specs.Process {
	w.t.Helper()
	spec, err := task.Spec(w.ctx)
	require.NoError(w.t, err)
	spec.Process.Args = args
	spec.Process.Terminal = false
	return spec.Process
}

func (w *world) streams(opts []cio.Opt) (*running, cio.Creator) {
	stdin, in := io.Pipe()
	r := &running{w: w, in: in, taken: make(chan struct{}), out: newOutput(), errs: newOutput()}
	w.t.Cleanup(func() { in.Close() })
	opts = append([]cio.Opt{cio.WithStreams(&input{stdin, r.taken}, r.out, r.errs), cio.WithFIFODir(w.t.TempDir())}, opts...)
	return r, cio.NewCreator(opts...)
}

func (r *running) begin(p client.Process) *running {
	r.w.t.Helper()
	var err error
	r.Process = p
	r.exit, err = p.Wait(r.w.ctx)
	require.NoError(r.w.t, err)
	require.NoError(r.w.t, p.Start(r.w.ctx))
	return r
}

// input closes ended at its end.
type input struct {
	io.Reader
	ended chan struct{}
}

func (i *input) Read(b []byte) (int, error) {
	n, err := i.Reader.Read(b)
	if err != nil {
		close(i.ended)
	}
	return n, err
}

// write writes to the process's input.
func (r *running) write(text string) {
	r.w.t.Helper()
	_, err := io.WriteString(r.in, text)
	require.NoError(r.w.t, err)
}

// endInput ends the process's input.
func (r *running) endInput() {
	r.w.t.Helper()
	require.NoError(r.w.t, r.in.Close())
	received(r.w.t, r.taken) // or its end would be seen before it
	require.NoError(r.w.t, r.CloseIO(r.w.ctx, client.WithStdinCloser))
}

// code waits for the exit, and for the output.
func (r *running) code() int {
	r.w.t.Helper()
	code := r.w.code(r.exit)
	r.IO().Wait()
	return code
}

func (w *world) mustLoad(id string) client.Container {
	w.t.Helper()
	c, err := w.plain.LoadContainer(w.ctx, id)
	require.NoError(w.t, err)
	return c
}

// changeSpec changes the stored spec of a container.
func (w *world) changeSpec(c client.Container, change func(*specs.Spec)) {
	w.t.Helper()
	spec, err := c.Spec(w.ctx)
	require.NoError(w.t, err)
	change(spec)
	require.NoError(w.t, c.Update(w.ctx, client.UpdateContainerOpts(client.WithSpec(spec))))
}

// await waits for the end of a task.
func (w *world) await(task client.Task) int {
	w.t.Helper()
	exit, err := task.Wait(w.ctx)
	require.NoError(w.t, err)
	return w.code(exit)
}

// awaited waits for the end of a task, and returns when the daemon knows.
func (w *world) awaited(task client.Task) <-chan client.ExitStatus {
	w.t.Helper()
	arrived := make(chan struct{}, 10)
	w.Inject(func(op containerdtest.Op) error {
		if op.String() == "Tasks/Wait" && !op.After {
			arrived <- struct{}{}
		}
		return nil
	})
	defer w.Inject(nil)
	exit, err := task.Wait(w.ctx)
	require.NoError(w.t, err)
	received(w.t, arrived)
	return exit
}

// code waits for an exit, and checks that it is one.
func (w *world) code(exit <-chan client.ExitStatus) int {
	w.t.Helper()
	status := received(w.t, exit)
	require.NoError(w.t, status.Error())
	return int(status.ExitCode())
}

// sh runs a line in a task and returns all that comes of it.
func (w *world) sh(task client.Task, line string) (stdout, stderr string, code int) {
	w.t.Helper()
	r := w.exec(task, "sh", "sh", "-c", line)
	r.endInput()
	code = r.code()
	_, err := r.Delete(w.ctx)
	require.NoError(w.t, err)
	return r.out.String(), r.errs.String(), code
}

// state returns what the daemon says of a task's process or of an exec.
func (w *world) state(id, execID string) *tasktypes.Process {
	w.t.Helper()
	r, err := w.plain.TaskService().Get(w.ctx, &tasks.GetRequest{ContainerID: id, ExecID: execID})
	require.NoError(w.t, err)
	return r.GetProcess()
}

// tryStatus returns a task's status, or "" if the daemon does not tell.
func (w *world) tryStatus(id string) string {
	r, err := w.plain.TaskService().Get(w.ctx, &tasks.GetRequest{ContainerID: id})
	if err != nil {
		return ""
	}
	return r.GetProcess().GetStatus().String()
}

func (w *world) status(id, execID string) string {
	w.t.Helper()
	return w.state(id, execID).GetStatus().String()
}

// native gives an error of gRPC its class.
func native(err error) error {
	if _, ok := status.FromError(err); ok {
		return errgrpc.ToNative(err)
	}
	return err
}
