package containerdtest

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/embedded"
	"github.com/ctrdkit/containerd/internal/testimage"
)

// Daemon is a real private containerd, and the service that works on it. It is
// safe for concurrent use by multiple goroutines. The end of the test ends it
// and everything that runs on it.
type Daemon struct {
	*containerd.DefaultService

	t      T
	daemon *embedded.Daemon
}

var _ containerd.Engine = (*Daemon)(nil)

// NewDaemon starts a real containerd with a real OCI runtime, runc, for one
// test, as root or rootless, and returns it with a service in the namespace
// "default". See package embedded for what it is and needs.
//
// It fails the test if that does not work, and skips it only where no user but
// root could run it: where there are no user namespaces. With the environment
// variable CI set it fails there too, because the test would never run.
func NewDaemon(t T) *Daemon {
	t.Helper()
	ctx := context.Background()
	d, err := embedded.Start(ctx, nil)
	if errors.Is(err, embedded.ErrNoUserNamespace) && os.Getenv("CI") == "" {
		t.Skipf("no private containerd: %v", err)
	}
	if err != nil {
		t.Fatalf("no private containerd: %v", err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("ending the private containerd: %v", err)
		}
	})
	return &Daemon{DefaultService: openOn(t, d, ""), t: t, daemon: d}
}

func openOn(t T, d *embedded.Daemon, namespace string) *containerd.DefaultService {
	t.Helper()
	if namespace == "" {
		namespace = containerd.DefaultNamespace
	}
	svc, err := containerd.Open(context.Background(), containerd.WithAddress(d.Address()), containerd.WithNamespace(namespace))
	if err != nil {
		t.Fatalf("opening the private containerd: %v", err)
	}
	t.Cleanup(func() {
		if err := svc.Close(); err != nil {
			t.Errorf("closing the service: %v", err)
		}
	})
	return svc
}

// Address returns the path of the daemon's socket.
func (d *Daemon) Address() string { return d.daemon.Address() }

// Open returns a further service on the daemon, in a namespace; "" means
// containerd.DefaultNamespace. The end of the test closes it.
func (d *Daemon) Open(namespace string) *containerd.DefaultService {
	d.t.Helper()
	return openOn(d.t, d.daemon, namespace)
}

// AddImage does what [Fake.AddImage] does, with real programs for the built-in
// commands. The first call of a process builds them, which needs the go command
// and takes a few seconds.
func (d *Daemon) AddImage(ref string, image Image) {
	d.t.Helper()
	var base []testimage.File
	if !image.Empty {
		binary, err := userland()
		if err != nil {
			d.t.Fatalf("adding image %s: %v", ref, err)
		}
		base = realFiles(binary)
	}
	addImage(d.t, d.DefaultService, ref, image, base)
}

// userland builds the programs of the built-in commands once.
var userland = sync.OnceValues(func() ([]byte, error) {
	return testimage.BuildUserland(context.Background())
})

// realFiles are the base files with programs that run.
func realFiles(binary []byte) []testimage.File {
	var files []testimage.File
	for _, layer := range testimage.Userland(binary).Layers[:2] {
		for _, f := range layer.Files {
			f.Path = strings.TrimSuffix(f.Path, "/")
			files = append(files, f)
		}
	}
	return files
}
