package conformance

import (
	"context"
	"slices"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

// otherNamespaceCases call every method with a context that carries another
// namespace. Effects are looked for in the service's namespace.
func otherNamespaceCases() (cases []testCase) {
	for _, m := range methods {
		cases = append(cases, testCase{name: m.name + ": acts in the service's namespace whatever the context carries", run: func(e *env) {
			elsewhere := "elsewhere-" + e.id()
			inNamespace[m.name](e, namespaces.WithNamespace(e.ctx, elsewhere))
			all, err := e.Client.NamespaceService().List(e.ctx)
			e.ok(err)
			e.want(!slices.Contains(all, elsewhere), "namespace %s of the context was made", elsewhere)
		}})
	}
	return cases
}

// inNamespace has a call of every method and a check of its effect.
var inNamespace = map[string]func(e *env, ctx context.Context){
	"PullImage": func(e *env, ctx context.Context) {
		_, err := e.Service.PullImage(ctx, e.Image, nil)
		e.ok(err)
		e.want(e.hasImage(e.Image), "the image is not there")
	},
	"GetImage": func(e *env, ctx context.Context) {
		e.pull()
		image, err := e.Service.GetImage(ctx, e.Image)
		e.ok(err)
		e.want(image.Name() == e.Image, "got %s", image.Name())
	},
	"ListImages": func(e *env, ctx context.Context) {
		e.pull()
		list, err := e.Service.ListImages(ctx)
		e.ok(err)
		e.want(len(list) == 1 && list[0].Name() == e.Image, "got %v", list)
	},
	"DeleteImage": func(e *env, ctx context.Context) {
		e.pull()
		e.ok(e.Service.DeleteImage(ctx, e.Image, nil))
		e.want(!e.hasImage(e.Image), "the image is still there")
	},
	"CreateContainer": func(e *env, ctx context.Context) {
		id := e.id()
		_, err := e.Service.CreateContainer(ctx, containerd.CreateContainerRequest{ID: id, ImageRef: e.Image})
		e.ok(err)
		e.wantContainer(id)
	},
	"CreateContainerFromSnapshot": func(e *env, ctx context.Context) {
		id, key := e.id(), e.prepared()
		_, err := e.Service.CreateContainerFromSnapshot(ctx, containerd.CreateContainerRequest{ID: id, ImageRef: e.Image, SnapshotID: key})
		e.ok(err)
		e.wantContainer(id)
	},
	"GetContainer": func(e *env, ctx context.Context) {
		id := e.create()
		c, err := e.Service.GetContainer(ctx, id)
		e.ok(err)
		e.want(c.ID() == id, "got %s", c.ID())
	},
	"ListContainers": func(e *env, ctx context.Context) {
		id := e.create()
		list, err := e.Service.ListContainers(ctx)
		e.ok(err)
		e.wantIDs(list, id)
	},
	"ListContainersByLabel": func(e *env, ctx context.Context) {
		id := e.createWith(containerd.CreateContainerRequest{Labels: map[string]string{"a": "b"}})
		list, err := e.Service.ListContainersByLabel(ctx, "a", "b")
		e.ok(err)
		e.wantIDs(list, id)
	},
	"DeleteContainer": func(e *env, ctx context.Context) {
		id := e.create()
		e.ok(e.Service.DeleteContainer(ctx, id, nil))
		e.wantGone(id)
	},
	"StartTask": func(e *env, ctx context.Context) {
		id := e.create()
		_, err := e.Service.StartTask(ctx, id, nil)
		e.ok(err)
		e.wantStatus(id, "RUNNING")
	},
	"GetTask": func(e *env, ctx context.Context) {
		id := e.start()
		task, err := e.Service.GetTask(ctx, id)
		e.ok(err)
		e.want(task.ID() == id && task.Pid() == e.process(id, "").GetPid(), "got %s with pid %d", task.ID(), task.Pid())
	},
	"ListTasks": func(e *env, ctx context.Context) {
		id := e.start()
		list, err := e.Service.ListTasks(ctx, nil)
		e.ok(err)
		e.want(len(list) == 1 && list[0].ContainerID == id, "got %+v", list)
	},
	"StopTask": func(e *env, ctx context.Context) {
		id := e.startReady()
		e.ok(e.Service.StopTask(ctx, id, nil))
		e.wantStatus(id, "STOPPED")
	},
	"DeleteTask": func(e *env, ctx context.Context) {
		id := e.start()
		e.ok(e.Service.DeleteTask(ctx, id, &containerd.DeleteTaskOptions{Force: true}))
		e.wantStatus(id, "")
	},
	"ExecTask": func(e *env, ctx context.Context) {
		id := e.start()
		result, err := e.Service.ExecTask(ctx, id, containerd.ExecTaskRequest{Args: []string{"sh", "-c", "exit 7"}})
		e.ok(err)
		e.want(result.ExitCode == 7, "got exit code %d", result.ExitCode)
	},
	"CommitSnapshot": func(e *env, ctx context.Context) {
		key, name := e.prepared(), e.id()
		e.ok(e.Service.CommitSnapshot(ctx, e.Snapshotter, name, key))
		e.want(e.hasSnapshot(e.Snapshotter, name), "the snapshot is not there")
	},
	"PrepareSnapshot": func(e *env, ctx context.Context) {
		parent, key := e.layers(), e.id()
		e.ok(e.Service.PrepareSnapshot(ctx, e.Snapshotter, key, parent))
		e.want(e.hasSnapshot(e.Snapshotter, key), "the snapshot is not there")
	},
	"SnapshotMounts": func(e *env, ctx context.Context) {
		mounts, err := e.Service.SnapshotMounts(ctx, e.Snapshotter, e.prepared())
		e.ok(err)
		e.want(len(mounts) > 0, "got no mounts")
	},
}

// optionCases hold nil options against the zero value.
var optionCases = []testCase{
	{name: "PullImageOptions: nil unpacks, the zero value does not", run: func(e *env) {
		_, err := e.Service.PullImage(e.ctx, e.Image, &containerd.PullImageOptions{})
		e.ok(err)
		e.want(!e.unpacked(e.Image, e.Snapshotter), "zero options unpacked the image")
		_, err = e.Service.PullImage(e.ctx, e.Image, nil)
		e.ok(err)
		e.want(e.unpacked(e.Image, e.Snapshotter), "nil options did not unpack the image")
	}},
	{name: "DeleteImageOptions: nil and the zero value remove the image", run: func(e *env) {
		for _, opts := range []*containerd.DeleteImageOptions{nil, {}} {
			e.pull()
			e.ok(e.Service.DeleteImage(e.ctx, e.Image, opts))
			e.want(!e.hasImage(e.Image), "%+v left the image", opts)
		}
	}},
	{name: "DeleteContainerOptions: nil removes the snapshot, the zero value keeps it", run: func(e *env) {
		cleaned, kept := e.create(), e.create()
		e.ok(e.Service.DeleteContainer(e.ctx, cleaned, nil))
		e.ok(e.Service.DeleteContainer(e.ctx, kept, &containerd.DeleteContainerOptions{}))
		e.wantGone(cleaned)
		e.want(!e.hasContainer(kept) && e.hasSnapshot(e.Snapshotter, kept), "zero options did not keep the snapshot alone")
	}},
	{name: "StartTaskOptions: nil and the zero value are the same", run: func(e *env) {
		for _, opts := range []*containerd.StartTaskOptions{nil, {}} {
			id := e.create()
			_, err := e.Service.StartTask(e.ctx, id, opts)
			e.ok(err)
			p := e.process(id, "")
			e.want(p.GetStdin() == "" && !p.GetTerminal(), "%+v gave the task input or a terminal: %v", opts, p)
		}
	}},
	{name: "StopTaskOptions: nil and the zero value stop with the stop signal", run: func(e *env) {
		for _, opts := range []*containerd.StopTaskOptions{nil, {}} {
			id := e.startReady()
			e.ok(e.Service.StopTask(e.ctx, id, opts))
			e.wantStatus(id, "STOPPED")
		}
	}},
	{name: "DeleteTaskOptions: nil and the zero value do not end a running task", run: func(e *env) {
		id := e.start()
		for _, opts := range []*containerd.DeleteTaskOptions{nil, {}} {
			e.class(e.Service.DeleteTask(e.ctx, id, opts), errdefs.IsFailedPrecondition, id)
			e.wantStatus(id, "RUNNING")
		}
	}},
	{name: "the caller's options and request are not written to", run: func(e *env) {
		pull, stop, start := containerd.PullImageOptions{}, containerd.StopTaskOptions{}, containerd.StartTaskOptions{}
		_, err := e.Service.PullImage(e.ctx, e.Image, &pull)
		e.ok(err)
		labels := map[string]string{"a": "b"}
		id := e.createWith(containerd.CreateContainerRequest{Labels: labels})
		_, err = e.Service.StartTask(e.ctx, id, &start)
		e.ok(err)
		e.ready(id)
		e.ok(e.Service.StopTask(e.ctx, id, &stop))
		e.want(pull == containerd.PullImageOptions{} && stop == containerd.StopTaskOptions{} && start == containerd.StartTaskOptions{},
			"options became %+v, %+v and %+v", pull, stop, start)
		e.want(len(labels) == 1 && labels["a"] == "b", "labels became %v", labels)
	}},
}
