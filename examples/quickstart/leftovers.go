package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd"
)

// removeAll removes everything in the service's namespace.
func removeAll(ctx context.Context, svc containerd.Engine) error {
	list, err := svc.ListContainers(ctx)
	if err != nil {
		return err
	}
	for _, c := range list {
		err := svc.DeleteTask(ctx, c.ID(), &containerd.DeleteTaskOptions{Force: true})
		if err != nil && !errdefs.IsNotFound(err) {
			return err
		}
		if err := svc.DeleteContainer(ctx, c.ID(), nil); err != nil {
			return err
		}
	}
	if err := removeVersions(scoped(ctx, svc), svc); err != nil {
		return err
	}
	stored, err := svc.ListImages(ctx)
	if err != nil {
		return err
	}
	for _, image := range stored {
		if err := svc.DeleteImage(ctx, image.Name(), &containerd.DeleteImageOptions{Synchronous: true}); err != nil {
			return err
		}
	}
	err = svc.Client().NamespaceService().Delete(ctx, svc.Namespace())
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// removeVersions removes the snapshots that were kept on purpose, the newest first.
func removeVersions(ctx context.Context, svc containerd.Engine) error {
	capabilities, err := svc.Capabilities(ctx)
	if err != nil {
		return err
	}
	sn := svc.Client().SnapshotService(capabilities.Snapshotter)
	for _, name := range []string{second, version} {
		if err := sn.Remove(ctx, name); err != nil && !errdefs.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// leftovers counts what is left of the tour, and fails if there is anything.
func leftovers(ctx context.Context, svc containerd.Engine) (string, error) {
	ctx = scoped(ctx, svc)
	client := svc.Client()
	capabilities, err := svc.Capabilities(ctx)
	if err != nil {
		return "", err
	}
	containers, err1 := client.ContainerService().List(ctx)
	tasks, err2 := svc.ListTasks(ctx, nil)
	imageList, err3 := client.ImageService().List(ctx)
	leases, err4 := client.LeasesService().List(ctx)
	kept := 0
	err5 := client.SnapshotService(capabilities.Snapshotter).Walk(ctx, func(context.Context, snapshots.Info) error {
		kept++
		return nil
	})
	mounts, err6 := mentions("/proc/self/mountinfo", svc.Namespace())
	shims, err7 := shimsOf(svc.Namespace())
	fifos, err8 := openFIFOs()
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7, err8); err != nil {
		return "", err
	}
	counts := []int{len(containers), len(tasks), len(imageList), kept, len(leases), mounts, shims, fifos}
	text := fmt.Sprintf("containers %d, tasks %d, images %d, snapshots %d, leases %d, mounts %d, shims %d, FIFOs %d",
		counts[0], counts[1], counts[2], counts[3], counts[4], counts[5], counts[6], counts[7])
	for _, n := range counts {
		if n > 0 {
			return "", errors.New(text)
		}
	}
	return text, nil
}

// mentions counts the lines of a file that contain a word.
func mentions(file, word string) (int, error) {
	text, err := os.ReadFile(file)
	return strings.Count(string(text), word), err
}

// openFIFOs counts the FIFOs that this process holds open.
func openFIFOs() (int, error) {
	descriptors, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		return 0, err
	}
	n := 0
	for _, fd := range descriptors {
		target, err := os.Readlink(fd)
		if err == nil && strings.Contains(target, "/ctrdkit-stdio-") {
			n++
		}
	}
	return n, nil
}

// shimsOf counts the shims that serve a namespace, by their command lines.
func shimsOf(namespace string) (int, error) {
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, err
	}
	n := 0
	for _, file := range processes {
		args, err := os.ReadFile(file)
		if err != nil {
			continue // it has just ended
		}
		if bytes.Contains(args, []byte("-namespace\x00"+namespace+"\x00")) {
			n++
		}
	}
	return n, nil
}
