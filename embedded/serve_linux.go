package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/sys"
	"github.com/containerd/log"
	"golang.org/x/sys/unix"

	"github.com/ctrdkit/containerd/internal/plugingraph"
)

// controlFD and those after it, the locks, are what startChild hands over.
const (
	controlFD = 3
	locksFD   = 4
	lockCount = 2
	// A joining child also gets two namespaces.
	lastFD = locksFD + lockCount + 1
)

// daemonMain is the child's main function.
func daemonMain() {
	for fd := controlFD; fd <= lastFD; fd++ {
		unix.CloseOnExec(fd)
	}
	// Gaining root's capabilities has undone what startChild asked for.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGTERM), 0, 0, 0); err != nil {
		exit(os.NewSyscallError("prctl", err))
	}
	// Writing the log to a parent that is gone must not end the daemon; ignoring
	// the signal instead would pass on to containers.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	parent, err := newControl(os.NewFile(controlFD, "control"))
	if err != nil {
		exit(err)
	}
	d := &daemon{parent: parent}
	if err := parent.Decode(&d.daemonConfig); err != nil {
		exit(fmt.Errorf("reading the configuration: %w", err))
	}
	if err := d.run(context.Background()); err != nil {
		exit(err)
	}
	os.Exit(0)
}

// daemon is the daemon as its own process sees it.
type daemon struct {
	daemonConfig
	parent     *control
	graph      *plugingraph.Graph
	failed     chan error
	uids, gids idMap // when rootless
}

// run serves until the parent asks for the end, is gone, or a signal or an error
// ends the daemon. The parent gets to know every error that it can still be told.
func (d *daemon) run(ctx context.Context) error {
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, unix.SIGTERM)
	if !d.Verbose {
		if err := log.SetLevel("warn"); err != nil {
			return err
		}
	}
	if err := d.start(ctx); err != nil {
		// Nothing may be lost of what runs in a Root that is kept.
		return d.parent.Encode(reportOf(err))
	}
	if d.CleanUp {
		return d.parent.Encode(reportOf(d.close(ctx)))
	}
	if err := d.parent.Encode(report{}); err != nil && !isDisconnect(err) {
		return err
	}
	asked := make(chan command, 1)
	go func() {
		defer close(asked)
		var c command
		if err := d.parent.Decode(&c); err == nil {
			asked <- c
		}
	}()
	select {
	case c, ok := <-asked:
		if !ok {
			return d.orphaned(ctx)
		}
		end := d.close
		if c.Detach {
			end = d.detach
		}
		return d.parent.Encode(reportOf(end(ctx)))
	case <-terminate:
		return d.orphaned(ctx)
	case err := <-d.failed:
		return errors.Join(err, d.detach(ctx))
	}
}

// orphaned ends the daemon without its parent. Nobody could ever find what runs
// in a temporary root; what runs in another is left for the next Start.
func (d *daemon) orphaned(ctx context.Context) error {
	if d.TempRoot {
		return d.close(ctx)
	}
	tasks, err := d.tasks(ctx)
	if err == nil && len(tasks) == 0 {
		return d.close(ctx)
	}
	return errors.Join(err, d.detach(ctx))
}

func (d *daemon) start(ctx context.Context) (err error) {
	if d.Rootless {
		if err := d.enterRootless(); err != nil {
			return err
		}
	}
	bin, err := installShim(d.Root)
	if err != nil {
		return err
	}
	// Containerd looks for shims in the working directory first.
	if err := os.Chdir(bin); err != nil {
		return err
	}
	tmp := filepath.Join(d.Root, "tmpmounts")
	if err := mount.SetTempMountLocation(tmp); err != nil {
		return err
	}
	if _, err := mount.CleanupTempMounts(0); err != nil {
		log.G(ctx).WithError(err).Warn("unmounting temporary mounts of an earlier run")
	}
	opts, err := d.graphOptions()
	if err != nil {
		return err
	}
	if d.graph, err = plugingraph.Start(ctx, opts); err != nil {
		return err
	}
	if d.CleanUp {
		return nil
	}
	if err := d.listen(opts); err != nil {
		return errors.Join(err, d.graph.Close())
	}
	return nil
}

func (d *daemon) listen(opts plugingraph.Options) error {
	uid, gid := os.Geteuid(), os.Getegid()
	api, err := sys.GetLocalListener(opts.Address, uid, gid)
	if err != nil {
		return err
	}
	events, err := sys.GetLocalListener(opts.TTRPCAddress, uid, gid)
	if err != nil {
		return errors.Join(err, api.Close())
	}
	d.failed = make(chan error, 2)
	serve := func(l net.Listener, serve func(net.Listener) error) {
		if err := serve(l); err != nil {
			d.failed <- err
		}
	}
	go serve(events, d.graph.ServeTTRPC)
	go serve(api, d.graph.Serve)
	return nil
}
