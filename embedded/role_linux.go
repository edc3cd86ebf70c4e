package embedded

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/manager"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
	"golang.org/x/sys/unix"

	_ "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/task/plugin" // the shim's service
)

const (
	// roleEnv tells a re-executed child what it is. Whoever reads it unsets it,
	// so that no further process takes it for its own.
	roleEnv    = "CTRDKIT_EMBEDDED_ROLE"
	roleDaemon = "daemon"
	roleShim   = "shim"
	roleMapped = "mapped" // the daemon, before its IDs are mapped
	roleJoin   = "join"   // starts the daemon in namespaces that exist

	runtimeName = "io.containerd.runc.v2"
	shimName    = "containerd-shim-runc-v2"
	shimPlugin  = "io.containerd.ttrpc.v1.task"
)

// A re-executed child never gets to the program's main, nor to that of a test:
// its role ends in os.Exit here.
func init() {
	role := os.Getenv(roleEnv)
	if role == "" && len(os.Args) > 0 && filepath.Base(os.Args[0]) == shimName {
		// The shim starts itself once more under its real name, so the role
		// travels on in the environment.
		if err := os.Setenv(roleEnv, roleShim); err != nil {
			exit(err)
		}
		shimMain()
	}
	if role == "" {
		return
	}
	if err := os.Unsetenv(roleEnv); err != nil {
		exit(err)
	}
	switch role {
	case roleDaemon:
		daemonMain()
	case roleMapped:
		mappedMain()
	case roleJoin:
		joinMain()
	case roleShim:
		shimMain()
	}
}

// mappedMain waits until the parent has mapped this process's IDs, and starts
// over: only a new program gets the capabilities of the root that it is now.
func mappedMain() {
	// The byte stands in front of the configuration, as blank space.
	if _, err := unix.Read(controlFD, make([]byte, 1)); err != nil {
		exit(fmt.Errorf("waiting for the ID mapping: %w", err))
	}
	env := append(os.Environ(), roleEnv+"="+roleDaemon)
	exit(fmt.Errorf("exec: %w", unix.Exec("/proc/self/exe", os.Args, env)))
}

// shimMain runs containerd's runc shim. Shims load every plugin they find, so
// only theirs may stay.
func shimMain() {
	all := registry.Graph(func(*plugin.Registration) bool { return false })
	registry.Reset()
	for i := range all {
		if all[i].URI() == shimPlugin {
			registry.Register(&all[i])
		}
	}
	// The program's own flags may have the names of the shim's.
	flag.CommandLine = flag.NewFlagSet(shimName, flag.ExitOnError)
	shim.RunShim(context.Background(), manager.NewShimManager(runtimeName))
	os.Exit(0)
}

func exit(err error) {
	if _, werr := os.Stderr.WriteString(err.Error() + "\n"); werr != nil {
		os.Exit(2)
	}
	os.Exit(1)
}
