package conformance

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

// allMethods are what holds for every method.
var allMethods = slices.Concat(
	methodCases(),
	absentCases,
	otherNamespaceCases(),
	optionCases,
	imageHandleCases,
	containerHandleCases,
	contentHandleCases,
)

// arguments are a call's strings, by the contract's parameter names.
type arguments map[string]string

// method is one of the 19 methods, to be called with arguments that name
// nothing that exists.
type method struct {
	name     string
	required []string // parameters that must not be empty
	id       string   // the parameter that Error.ID shows, "" for none
	call     func(ctx context.Context, s containerd.Service, a arguments) error
}

// methods lists all methods of Service.
var methods = []method{
	{"PullImage", []string{"ref"}, "ref", func(ctx context.Context, s containerd.Service, a arguments) error {
		return fails(s.PullImage(ctx, a["ref"], nil))
	}},
	{"GetImage", []string{"ref"}, "ref", func(ctx context.Context, s containerd.Service, a arguments) error {
		return fails(s.GetImage(ctx, a["ref"]))
	}},
	{"ListImages", nil, "", func(ctx context.Context, s containerd.Service, _ arguments) error {
		return fails(s.ListImages(ctx))
	}},
	{"DeleteImage", []string{"ref"}, "ref", func(ctx context.Context, s containerd.Service, a arguments) error {
		return s.DeleteImage(ctx, a["ref"], nil)
	}},
	{"CreateContainer", []string{"ID", "ImageRef"}, "ID", func(ctx context.Context, s containerd.Service, a arguments) error {
		return fails(s.CreateContainer(ctx, containerd.CreateContainerRequest{ID: a["ID"], ImageRef: a["ImageRef"]}))
	}},
	{"CreateContainerFromSnapshot", []string{"ID", "ImageRef", "SnapshotID"}, "ID", func(ctx context.Context, s containerd.Service, a arguments) error {
		return fails(s.CreateContainerFromSnapshot(ctx, containerd.CreateContainerRequest{
			ID: a["ID"], ImageRef: a["ImageRef"], SnapshotID: a["SnapshotID"],
		}))
	}},
	{"GetContainer", []string{"id"}, "id", func(ctx context.Context, s containerd.Service, a arguments) error {
		return fails(s.GetContainer(ctx, a["id"]))
	}},
	{"ListContainers", nil, "", func(ctx context.Context, s containerd.Service, _ arguments) error {
		return fails(s.ListContainers(ctx))
	}},
	{"ListContainersByLabel", []string{"key"}, "key", func(ctx context.Context, s containerd.Service, a arguments) error {
		return fails(s.ListContainersByLabel(ctx, a["key"], "value"))
	}},
	{"DeleteContainer", []string{"id"}, "id", func(ctx context.Context, s containerd.Service, a arguments) error {
		return s.DeleteContainer(ctx, a["id"], nil)
	}},
	{"StartTask", []string{"containerID"}, "containerID", func(ctx context.Context, s containerd.Service, a arguments) error {
		return fails(s.StartTask(ctx, a["containerID"], nil))
	}},
	{"GetTask", []string{"containerID"}, "containerID", func(ctx context.Context, s containerd.Service, a arguments) error {
		return fails(s.GetTask(ctx, a["containerID"]))
	}},
	{"ListTasks", nil, "", func(ctx context.Context, s containerd.Service, _ arguments) error {
		return fails(s.ListTasks(ctx, nil))
	}},
	{"StopTask", []string{"containerID"}, "containerID", func(ctx context.Context, s containerd.Service, a arguments) error {
		return s.StopTask(ctx, a["containerID"], nil)
	}},
	{"DeleteTask", []string{"containerID"}, "containerID", func(ctx context.Context, s containerd.Service, a arguments) error {
		return s.DeleteTask(ctx, a["containerID"], nil)
	}},
	{"ExecTask", []string{"containerID"}, "containerID", func(ctx context.Context, s containerd.Service, a arguments) error {
		return fails(s.ExecTask(ctx, a["containerID"], containerd.ExecTaskRequest{Args: []string{"true"}}))
	}},
	{"CommitSnapshot", []string{"snapshotter", "name", "key"}, "key", func(ctx context.Context, s containerd.Service, a arguments) error {
		return s.CommitSnapshot(ctx, a["snapshotter"], a["name"], a["key"])
	}},
	{"PrepareSnapshot", []string{"snapshotter", "key", "parent"}, "key", func(ctx context.Context, s containerd.Service, a arguments) error {
		return s.PrepareSnapshot(ctx, a["snapshotter"], a["key"], a["parent"])
	}},
	{"SnapshotMounts", []string{"snapshotter", "key"}, "key", func(ctx context.Context, s containerd.Service, a arguments) error {
		return fails(s.SnapshotMounts(ctx, a["snapshotter"], a["key"]))
	}},
}

// fails drops the result of a call whose error is what matters.
func fails[T any](_ T, err error) error { return err }

// absent returns valid arguments that name nothing that exists.
func (e *env) absent() arguments {
	return arguments{
		"ref": unreachable(e.id()), "ImageRef": unreachable(e.id()),
		"ID": e.id(), "id": e.id(), "containerID": e.id(),
		"SnapshotID": e.id(), "snapshotter": e.Snapshotter, "key": e.id(), "name": e.id(), "parent": e.id(),
	}
}

// unreachable is a valid reference to a registry that does not answer.
func unreachable(name string) string { return "localhost:1/" + strings.ToLower(name) + ":v1" }

// methodCases are over the whole table.
func methodCases() (cases []testCase) {
	for _, m := range methods {
		for _, param := range m.required {
			cases = append(cases, testCase{name: m.name + ": an empty " + param + " is an invalid argument", run: func(e *env) {
				e.refused(m, param, "")
			}}, testCase{name: m.name + ": a hostile " + param + " is an invalid argument and leaves nothing", run: func(e *env) {
				for _, value := range hostile(m, param) {
					e.refused(m, param, value)
				}
			}})
		}
		cases = append(cases, testCase{name: m.name + ": a cancelled context is context.Canceled, and nothing is done", run: func(e *env) {
			ctx, cancel := context.WithCancel(e.ctx)
			cancel()
			e.endsWith(ctx, m, context.Canceled)
		}}, testCase{name: m.name + ": an expired deadline is context.DeadlineExceeded, and nothing is done", run: func(e *env) {
			ctx, cancel := context.WithDeadline(e.ctx, time.Now().Add(-time.Second))
			defer cancel()
			e.endsWith(ctx, m, context.DeadlineExceeded)
		}})
	}
	return cases
}

// refused spoils one argument of a call and checks that nothing comes of it.
func (e *env) refused(m method, param, value string) {
	e.Helper()
	before := e.state()
	args := e.absent()
	args[param] = value
	e.invalid(m.call(e.ctx, e.Service, args), args[m.id], param)
	e.unchanged(before)
}

func (e *env) endsWith(ctx context.Context, m method, want error) {
	e.Helper()
	before := e.state()
	args := e.absent()
	var err error
	e.within(promptly, m.name, func() { err = m.call(ctx, e.Service, args) })
	e.class(err, func(err error) bool { return errors.Is(err, want) }, args[m.id])
	e.unchanged(before)
}

// hostile returns values that no method accepts for the parameter.
func hostile(m method, param string) []string {
	values := []string{
		"a\x00b",                         // ends early where C strings are used
		"\xff\xfe\xfd",                   // no UTF-8
		"a" + strings.Repeat("x", 1<<20), // more than the daemon stores
	}
	switch {
	case param == "ID" || param == "id" || param == "containerID":
		return append(values, "..", ".", "../../etc/passwd", "a/b", "/a", `a\b`, "a b", "a\n", " a", "-a", "a-", "a..b", "ä", "a:b",
			strings.Repeat("a", 77))
	case param == "ImageRef" || m.name == "PullImage":
		return append(values, "http://localhost/a:v1", "docker://localhost/a", "a b", " a", "a\n", "../a", "a/../b", "/a", "UPPER", "a:", "a@",
			":v1", "a:v1:v2", "a@sha256:abc", "sha256:"+strings.Repeat("a", 64), strings.Repeat("a", 64))
	}
	return values
}

// absentCases name things that do not exist.
var absentCases = func() (cases []testCase) {
	for _, m := range methods {
		// An absent image at a registry that can't be asked is no not-found error.
		if m.id == "" || m.name == "PullImage" || strings.HasPrefix(m.name, "Create") || m.name == "ListContainersByLabel" {
			continue
		}
		cases = append(cases, testCase{name: m.name + ": what does not exist is not found, and nothing is made", run: func(e *env) {
			before := e.state()
			args := e.absent()
			e.class(m.call(e.ctx, e.Service, args), errdefs.IsNotFound, args[m.id])
			e.unchanged(before)
		}})
		if slices.Contains(m.required, "snapshotter") {
			cases = append(cases, testCase{name: m.name + ": an unknown snapshotter is an error with a class", run: func(e *env) {
				args := e.absent()
				args["snapshotter"] = "no-such-snapshotter"
				e.class(m.call(e.ctx, e.Service, args), classified, args[m.id])
			}})
		}
	}
	return append(cases, testCase{name: "PullImage: what the registry does not have is not found, and nothing is made", run: func(e *env) {
		before, ref := e.state(), e.Image+"-"+e.id()
		_, err := e.Service.PullImage(e.ctx, ref, nil)
		e.class(err, errdefs.IsNotFound, ref)
		e.unchanged(before)
	}}, testCase{name: "CreateContainer: an image that the registry does not have is not found, and nothing is made", run: func(e *env) {
		before, id := e.state(), e.id()
		_, err := e.Service.CreateContainer(e.ctx, containerd.CreateContainerRequest{ID: id, ImageRef: e.Image + "-" + id})
		e.class(err, errdefs.IsNotFound, id)
		e.unchanged(before)
	}}, testCase{name: "CreateContainerFromSnapshot: a snapshot that does not exist is not found, and nothing is made", run: func(e *env) {
		e.pull()
		before, id := e.state(), e.id()
		_, err := e.Service.CreateContainerFromSnapshot(e.ctx, containerd.CreateContainerRequest{ID: id, ImageRef: e.Image, SnapshotID: e.id()})
		e.class(err, errdefs.IsNotFound, id)
		e.unchanged(before)
	}}, testCase{name: "ListContainersByLabel: a label that no container has gives an empty list", run: func(e *env) {
		e.create()
		e.wantByLabel(e.id(), "x")
	}})
}()

// classified reports whether err has an errdefs class or is a context's error.
func classified(err error) bool {
	return isContextEnd(err) || !errdefs.IsUnknown(err) && !errors.Is(errdefs.Resolve(err), errdefs.ErrUnknown)
}
