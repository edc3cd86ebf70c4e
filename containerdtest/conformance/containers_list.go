package conformance

import (
	"context"
	"slices"
	"strings"

	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"

	"github.com/ctrdkit/containerd"
)

var listContainerCases = slices.Concat([]testCase{
	{name: "GetContainer: the container of exactly that ID", run: func(e *env) {
		id := e.create()
		e.createWith(containerd.CreateContainerRequest{ID: id + "-2"})
		c, err := e.Service.GetContainer(e.ctx, id)
		e.ok(err)
		info, err := c.Info(context.Background())
		e.ok(err)
		e.want(c.ID() == id && info.SnapshotKey == id, "got %+v", info)
	}},
	{name: "GetContainer: a container that another client made is found", run: func(e *env) {
		id := e.id()
		_, err := e.Client.NewContainer(e.raw, id, client.WithNewSpec())
		e.ok(err)
		c, err := e.Service.GetContainer(e.ctx, id)
		e.ok(err)
		e.want(c.ID() == id, "got %s", c.ID())
	}},
	{name: "ListContainers: an empty namespace has none, and that is no error", run: func(e *env) {
		list, err := e.Service.ListContainers(e.ctx)
		e.ok(err)
		e.want(len(list) == 0, "got %d containers", len(list))
	}},
	{name: "ListContainers: every container is listed, whoever made it", run: func(e *env) {
		one, other := e.create(), e.id()
		_, err := e.Client.NewContainer(e.raw, other, client.WithNewSpec())
		e.ok(err)
		list, err := e.Service.ListContainers(e.ctx)
		e.ok(err)
		e.wantIDs(list, one, other)
	}},
	{name: "ListContainers: containers of other namespaces are not listed", run: func(e *env) {
		id, elsewhere := e.create(), namespaces.WithNamespace(e.ctx, "elsewhere-"+e.id())
		_, err := e.Client.NewContainer(elsewhere, "stranger", client.WithNewSpec())
		e.ok(err)
		defer func() {
			e.ok(e.Client.ContainerService().Delete(elsewhere, "stranger"))
			ns, err := namespaces.NamespaceRequired(elsewhere)
			e.ok(err)
			e.ok(e.Client.NamespaceService().Delete(e.ctx, ns))
		}()
		list, err := e.Service.ListContainers(e.ctx)
		e.ok(err)
		e.wantIDs(list, id)
	}},
	{name: "ListContainers: lists are complete while other containers come and go", run: func(e *env) {
		e.listsThatStay(func() []string {
			list, err := e.Service.ListContainers(e.ctx)
			e.ok(err)
			return containerIDs(list)
		})
	}},
	{name: "ListContainersByLabel: never fails because a container vanishes meanwhile", run: func(e *env) {
		e.listsThatStay(func() []string {
			list, err := e.Service.ListContainersByLabel(e.ctx, "listed", "")
			e.ok(err)
			return containerIDs(list)
		})
	}},
	{name: "ListContainersByLabel: an empty value means that the key is present", run: func(e *env) {
		one, other := e.createWith(withLabel("a.b/c", "1")), e.createWith(withLabel("a.b/c", "2"))
		e.createWith(withLabel("a.b/d", "1"))
		e.create()
		e.wantByLabel("a.b/c", "", one, other)
	}},
	{name: "ListContainersByLabel: another value of the key does not match", run: func(e *env) {
		one, other := e.createWith(withLabel("a.b/c", "1")), e.createWith(withLabel("a.b/c", "2"))
		e.wantByLabel("a.b/c", "1", one)
		e.wantByLabel("a.b/c", "2", other)
		e.wantByLabel("a.b/c", "3")
	}},
	{name: "ListContainersByLabel: a key or value that is only a part of the label's does not match", run: func(e *env) {
		e.createWith(withLabel("a.b/c", "value"))
		for _, label := range [][2]string{{"a.b/c", "val"}, {"a.b/c", "alue"}, {"a.b/c", "Value"}, {"a.b/c", "value "}, {"a.b", "value"}, {"a", ""}, {"a.b/c/", ""}} {
			e.wantByLabel(label[0], label[1])
		}
	}},
	{name: "ListContainersByLabel: a label of several must match, the others don't matter", run: func(e *env) {
		id := e.createWith(containerd.CreateContainerRequest{Labels: map[string]string{"a": "1", "b": "2"}})
		e.createWith(containerd.CreateContainerRequest{Labels: map[string]string{"a": "2", "b": "1"}})
		e.wantByLabel("a", "1", id)
	}},
	{name: "ListContainersByLabel: labels that are reserved for the daemon can be asked for", run: func(e *env) {
		id := e.create()
		c, err := e.Client.LoadContainer(e.raw, id)
		e.ok(err)
		_, err = c.SetLabels(e.raw, map[string]string{"containerd.io/conformance": "x", "io.cri-containerd.kind": "sandbox"})
		e.ok(err)
		e.wantByLabel("containerd.io/conformance", "x", id)
		e.wantByLabel("io.cri-containerd.kind", "", id)
	}},
	{name: "ListContainersByLabel: a value that is not UTF-8 is an invalid argument", run: func(e *env) {
		_, err := e.Service.ListContainersByLabel(e.ctx, "a", "\xff")
		e.invalid(err, "a", "value")
	}},
}, exactLabelCases())

// exactLabelCases have labels that a filter must not take for its own syntax.
func exactLabelCases() (cases []testCase) {
	odd := map[string]string{
		"double quotes":        `say "hello"`,
		"single quotes":        `it's`,
		"backslashes":          `a\b\\c\n`,
		"slashes and bars":     `/a/|b|`,
		"commas":               `a,b,labels.c==d`,
		"operators":            `a==b!=c~=d`,
		"a regular expression": `^.*$`,
		"spaces":               `  a  b  `,
		"a line break":         "a\nb\tc\r",
		"control characters":   "a\x01\x7f\u0085",
		"umlauts and emoji":    "äöü ñ 🐳",
		"a replacement mark":   "a\ufffdb",
		"a single quote mark":  `"`,
		"a backslash alone":    `\`,
		"4 KiB":                strings.Repeat("v", 4000),
	}
	for name, text := range odd {
		cases = append(cases, testCase{name: "ListContainersByLabel: a value with " + name + " matches exactly", run: func(e *env) {
			id := e.createWith(withLabel("key", text))
			e.createWith(withLabel("key", "other"))
			e.wantByLabel("key", text, id)
			e.wantByLabel("key", text+"x")
		}}, testCase{name: "ListContainersByLabel: a key with " + name + " matches exactly", run: func(e *env) {
			id := e.createWith(withLabel(text, "value"))
			e.createWith(withLabel("other", "value"))
			e.wantByLabel(text, "value", id)
			e.wantByLabel(text, "", id)
			e.wantByLabel(text+"x", "")
		}})
	}
	slices.SortFunc(cases, func(a, b testCase) int { return strings.Compare(a.name, b.name) })
	return cases
}
