package embedded

import "io"

// Options say how [Start] runs containerd. The zero value, and nil, ask for a
// temporary daemon with every default.
type Options struct {
	// Root is the directory for images, snapshots and container records. It is
	// made if it does not exist, and kept. Empty means a temporary one under
	// [os.TempDir], which Close removes.
	Root string

	// State is the directory for sockets and running containers. Its absolute
	// path has at most 40 bytes, because of the unix sockets in it. Empty means a
	// short one made by Start, whose path is remembered in Root while containers
	// run, so that the next Start finds them.
	State string

	// Runtime is the OCI runtime binary, as a path or a name on PATH. Empty
	// means runc.
	Runtime string

	// Snapshotter is the daemon's default snapshotter, "overlayfs" or "native":
	// the one that clients get which name none, in every namespace that has no
	// default of its own. Empty means overlayfs where it works on Root's file
	// system, and native elsewhere.
	Snapshotter string

	// Log receives the daemon's log, from a goroutine of its own. A writer that
	// blocks, blocks the daemon. Nil discards the log, except that the errors of
	// Start show its end.
	Log io.Writer
}
