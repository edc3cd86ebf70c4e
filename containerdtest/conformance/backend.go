package conformance

import (
	"testing"

	client "github.com/containerd/containerd/v2/client"

	"github.com/ctrdkit/containerd"
)

// Backend is what one case runs on. Members that are nil or empty skip the
// cases that need them, by name.
type Backend struct {
	// Service is under test. Required.
	Service containerd.Service
	// Client is a plain client of the same daemon. Required.
	Client *client.Client
	// Namespace is the namespace that Service acts in, used by nothing else
	// and empty at the start of the case. Required.
	Namespace string
	// Snapshotter is the one that Service uses when none is named. Required.
	Snapshotter string
	// Image is a reference that can be pulled, of an image with the usual
	// commands (sh, sleep, cat, echo, true, false, env, id, pwd) whose default
	// command is a long sleep that ends at SIGTERM. ServeImage of package
	// containerdtest serves one, for the fake and for a daemon. Required.
	Image string
	// Private returns a backend on a daemon that no other case uses, with a
	// Restart. It is called for the cases that need one. Optional.
	Private Open
	// Restart ends the daemon as a crash would and starts it again on the same
	// state and address. Optional.
	Restart func(t *testing.T)
	// Lacks says what the backend can't do, and why. Cases that need it are
	// skipped with that reason. Optional.
	Lacks map[Ability]string
}

// check ends the case if something is missing without which none can run.
func (b Backend) check(t *testing.T) {
	t.Helper()
	for _, member := range []struct {
		name  string
		isSet bool
	}{
		{"Service", b.Service != nil},
		{"Client", b.Client != nil},
		{"Namespace", b.Namespace != ""},
		{"Snapshotter", b.Snapshotter != ""},
		{"Image", b.Image != ""},
	} {
		if !member.isSet {
			t.Fatalf("Backend.%s is required", member.name)
		}
	}
}

// Ability is something that a case needs and not every backend has.
type Ability string

const (
	// Pausing is to pause a task and to resume it.
	Pausing Ability = "pausing"
	// ProcessLists is to list the processes of a task and to measure it.
	ProcessLists Ability = "process lists"
	// Logging is to start tasks with LogIO. It needs a test binary that imports
	// package github.com/ctrdkit/containerd/logger, on the daemon's machine.
	Logging Ability = "logging"
	// Limits is to limit what a task uses.
	Limits Ability = "limits"
	// OtherUsers is to run a process with any user and group.
	OtherUsers Ability = "other users"
)

// Open returns a backend for one case and registers its end with t.Cleanup.
type Open func(t *testing.T) Backend
