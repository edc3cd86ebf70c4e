package conformance

import (
	"archive/tar"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctrdkit/containerd"
)

const (
	passwdText = "root:x:0:0:root:/root:/bin/sh\napp:x:1234:5678:app:/app:/bin/sh\n"
	groupText  = "root:x:0:\nwww:x:99:\nextra:x:77:app,other\n"
)

// rootfsCases are about the user that an image names, who is looked up in the
// image's own files: nothing in there can block, mislead or reach the host.
func rootfsCases() []testCase {
	cases := []testCase{
		{name: "image user: an image without user files works with a numeric user", run: func(e *env) {
			e.wantUser(e.userImage("1000:1001", file("anything", "")), specs.User{UID: 1000, GID: 1001})
		}},
		{name: "image user: a name that the image does not have is refused with a class, and nothing is left", run: func(e *env) {
			e.nothingFrom(containerd.CreateContainerRequest{ImageRef: e.userImage("nobody", file("etc/passwd", passwdText))}, errdefs.IsFailedPrecondition)
		}},
		{name: "image user: a group that the image does not have is refused with a class, and nothing is left", run: func(e *env) {
			e.nothingFrom(containerd.CreateContainerRequest{ImageRef: e.userImage("app:nobody", userFiles()...)}, errdefs.IsFailedPrecondition)
		}},
		{name: "image user: a user below zero is refused with a class, and nothing is left", run: func(e *env) {
			e.nothingFrom(containerd.CreateContainerRequest{ImageRef: e.userImage("-1", userFiles()...)}, errdefs.IsFailedPrecondition)
		}},
		{name: "image user: what the container changed in its own files counts for its snapshot", run: func(e *env) {
			name := e.imageVariant(func(c *ocispec.ImageConfig) { c.User = "late" })
			before := e.start()
			e.want(e.sh(before, "echo late:x:4242:4243:::/bin/sh > /etc/passwd") == 0, "writing failed")
			e.ok(e.Service.DeleteTask(e.ctx, before, forced))
			id := e.id()
			_, err := e.Service.CreateContainerFromSnapshot(e.ctx, containerd.CreateContainerRequest{ID: id, ImageRef: name, SnapshotID: before})
			e.ok(err)
			u := e.spec(e.record(id)).Process.User
			e.want(u.UID == 4242 && u.GID == 4243, "got %+v", u)
		}},
	}
	for _, known := range []struct {
		user string
		want specs.User
	}{
		{"app", specs.User{UID: 1234, GID: 5678, AdditionalGids: []uint32{5678, 77}}},
		{"app:www", specs.User{UID: 1234, GID: 99}},
		{"app:7", specs.User{UID: 1234, GID: 7}},
		{"1234", specs.User{UID: 1234, GID: 5678}},
		{"4321", specs.User{UID: 4321, GID: 0}},
		{"4321:www", specs.User{UID: 4321, GID: 99}},
		{"", specs.User{}},
	} {
		cases = append(cases, testCase{name: "image user: " + quotedOrNone(known.user) + " is resolved in the image's files", run: func(e *env) {
			e.wantUser(e.userImage(known.user, userFiles()...), known.want)
		}})
	}
	return append(cases, hostileRootfsCases()...)
}

func quotedOrNone(user string) string {
	if user == "" {
		return "no user"
	}
	return `"` + user + `"`
}

// hostileRootfsCases have something else than a sane regular file in the place
// of /etc/passwd.
func hostileRootfsCases() (cases []testCase) {
	for _, hostile := range []struct {
		name string
		file tar.Header
	}{
		{"a FIFO", tar.Header{Name: "etc/passwd", Typeflag: tar.TypeFifo}},
		{"a directory", tar.Header{Name: "etc/passwd", Typeflag: tar.TypeDir}},
		{"a link to itself", tar.Header{Name: "etc/passwd", Typeflag: tar.TypeSymlink, Linkname: "passwd"}},
		{"a link out of the root file system", tar.Header{Name: "etc/passwd", Typeflag: tar.TypeSymlink, Linkname: "../../../../../../../../etc/passwd"}},
		{"a link to a process's root", tar.Header{Name: "etc/passwd", Typeflag: tar.TypeSymlink, Linkname: "/proc/self/root/etc/passwd"}},
		{"a file without end", tar.Header{Name: "etc/passwd", Typeflag: tar.TypeReg, Linkname: strings.Repeat("#\n", 6<<20)}},
	} {
		cases = append(cases, testCase{name: "image user: " + hostile.name + " in the place of /etc/passwd neither blocks nor misleads", run: func(e *env) {
			ref := e.userImage("root", hostile.file)
			e.within(caseTimeout/3, "the create", func() {
				e.nothingFrom(containerd.CreateContainerRequest{ImageRef: ref}, errdefs.IsFailedPrecondition)
			})
		}})
	}
	return append(cases, testCase{name: "image user: links within the root file system are followed", run: func(e *env) {
		e.wantUser(e.userImage("app",
			tar.Header{Name: "etc", Typeflag: tar.TypeDir},
			tar.Header{Name: "etc/passwd", Typeflag: tar.TypeSymlink, Linkname: "/../../lib/users"},
			file("lib/users", passwdText),
		), specs.User{UID: 1234, GID: 5678})
	}})
}

// file is a regular file as makeImage takes it.
func file(name, text string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Linkname: text}
}

func userFiles() []tar.Header {
	return []tar.Header{file("etc/passwd", passwdText), file("etc/group", groupText)}
}

// userImage stores and unpacks an image that names a user.
func (e *env) userImage(user string, files ...tar.Header) string {
	e.Helper()
	name, _ := e.makeImage(made{config: ocispec.ImageConfig{User: user, Cmd: []string{"/none"}}, files: files})
	image, err := e.Client.GetImage(e.raw, name)
	e.ok(err)
	e.ok(image.Unpack(e.raw, e.Snapshotter))
	return name
}

// wantUser creates two containers of the image, the second from what the
// service remembers, and checks their user; groups only where want has some.
func (e *env) wantUser(ref string, want specs.User) {
	e.Helper()
	for range 2 {
		got := e.spec(e.record(e.createWith(containerd.CreateContainerRequest{ImageRef: ref}))).Process.User
		e.want(got.UID == want.UID && got.GID == want.GID, "got %+v, want %+v", got, want)
		for _, gid := range want.AdditionalGids {
			e.want(slices.Contains(got.AdditionalGids, gid), "group %d is missing in %v", gid, got.AdditionalGids)
		}
	}
}
