package containerdtest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ctrdkit/containerd"
	"github.com/ctrdkit/containerd/embedded"
	"github.com/ctrdkit/containerd/internal/seam"
	"github.com/ctrdkit/containerd/internal/testimage"
)

// Daemon is a real private containerd, and the service that works on it. It is
// safe for concurrent use by multiple goroutines. The end of the test ends it
// and everything that runs on it.
type Daemon struct {
	*containerd.DefaultService

	t      T
	daemon *embedded.Daemon
	dir    string // of the services' FIFOs and logs
}

var _ containerd.Engine = (*Daemon)(nil)

// NewDaemon starts a real containerd with a real OCI runtime, runc, for one
// test, as root or rootless, and returns it with a service in the namespace
// "default". See package embedded for what it is and needs. FIFOs and logs of
// tasks that name no directory go to one of this daemon's, which the end of the
// test removes.
//
// It fails the test if that does not work, and skips it only where no user but
// root could run it: where there are no user namespaces. With the environment
// variable CI set it fails there too, because the test would never run.
func NewDaemon(t T) *Daemon {
	t.Helper()
	dir, err := os.MkdirTemp("", "ctrd-test-")
	if err != nil {
		t.Fatalf("making a directory for a private containerd: %v", err)
	}
	t.Cleanup(func() {
		if err := removeSoon(dir); err != nil {
			t.Errorf("removing the directory of the private containerd: %v", err)
		}
	})
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
	daemon := &Daemon{t: t, daemon: d, dir: dir}
	daemon.DefaultService = daemon.Open("")
	return daemon
}

// removeSoon removes a directory in which loggers may still write their last
// lines: they end by themselves after the daemon.
func removeSoon(dir string) error {
	tick := time.NewTicker(leakPause)
	defer tick.Stop()
	for end := time.Now().Add(leakGrace); ; <-tick.C {
		if err := os.RemoveAll(dir); err == nil || time.Now().After(end) {
			return err
		}
	}
}

// Address returns the path of the daemon's socket.
func (d *Daemon) Address() string { return d.daemon.Address() }

// Open returns a further service on the daemon, in a namespace; "" means
// containerd.DefaultNamespace. The end of the test closes it.
func (d *Daemon) Open(namespace string) *containerd.DefaultService {
	d.t.Helper()
	if namespace == "" {
		namespace = containerd.DefaultNamespace
	}
	svc, err := containerd.Open(context.Background(), containerd.WithAddress(d.Address()), containerd.WithNamespace(namespace))
	if err != nil {
		d.t.Fatalf("opening the private containerd: %v", err)
	}
	seam.Configure(svc, seam.Settings{StdioDir: filepath.Join(d.dir, "stdio"), LogDir: filepath.Join(d.dir, "logs")})
	d.t.Cleanup(func() {
		if err := svc.Close(); err != nil {
			d.t.Errorf("closing the service: %v", err)
		}
	})
	return svc
}

// AddImage does what [Fake.AddImage] does, with real programs for the built-in
// commands. The first call of a process builds them, which needs the go command
// and takes a few seconds.
func (d *Daemon) AddImage(ref string, image Image) {
	d.t.Helper()
	addImage(d.t, d.DefaultService, ref, image, d.baseFiles(image))
}

// baseFiles are what an image has by itself, unless it is to be empty.
func (d *Daemon) baseFiles(image Image) []testimage.File {
	d.t.Helper()
	if image.Empty {
		return nil
	}
	binary, err := userland()
	if err != nil {
		d.t.Fatalf("building the programs of an image: %v", err)
	}
	return realFiles(binary)
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
