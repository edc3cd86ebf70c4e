// Package embedded runs a private, real containerd inside a program's own
// binary: nothing has to be installed but an OCI runtime such as runc.
//
//	d, err := embedded.Start(ctx, nil)
//	if err != nil {
//		return err
//	}
//	defer d.Close()
//	client, err := d.Client()
//
// [Start] executes the calling binary again, as the daemon, with a root, a state
// directory and a socket of its own; the daemon executes it again as the shim of
// each container. Any number of daemons can run at once, next to the host's,
// with the same namespaces and container IDs. Tests need no TestMain.
//
// # What the daemon is
//
// It is containerd 2.4 with the overlayfs and native snapshotters, the walking
// differ, garbage collection, leases, events, transfer, and the runtime
// io.containerd.runc.v2, which clients ask for by default; it needs no runtime
// options. There is no CRI, no sandbox service, no restart monitor, no network
// set-up, and no metrics endpoint.
//
// Cgroup paths of containers get a prefix that is unique for the daemon's Root.
//
// # Without root
//
// For any other user than root the daemon, its shims and its containers run in a
// user and a mount namespace of their own. All of the user's subordinate IDs are
// mapped if newuidmap, newgidmap, /etc/subuid and /etc/subgid are there;
// otherwise only the user's own ID is, and images with files of several owners
// cannot be unpacked. Containers have no cgroup, so there are no limits, no
// statistics, no process lists, and no pausing. Mounts are not visible to
// clients.
//
// # Cost
//
// A program that imports the package and calls nothing gets no process,
// goroutine, file or connection from it. The init functions of what it imports
// take 1.1 ms and 0.5 MB more than those of containerd's client alone, which
// take 1.9 ms and 1.1 MB (GODEBUG=inittrace=1, linux/amd64); the binary grows by
// 16 MB. Those of this package take next to nothing, but they are where a
// re-executed child ends, so packages that are initialised before this one run
// their init functions in the daemon and in shims too.
//
// The package compiles on every system and works on Linux.
package embedded
