// Command userland runs the applets of internal/applets as Linux processes, in
// one static binary. Like busybox it acts as the command under whose name it is
// called.
package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/ctrdkit/containerd/internal/applets"
)

func main() {
	args := os.Args
	if filepath.Base(args[0]) == "userland" && len(args) > 1 {
		args = args[1:]
	}
	if os.Getpid() == 1 && filepath.Base(args[0]) != "pause" {
		// As PID 1, a C program without a handler is not touched by these; Go's
		// runtime has handlers that would end it. pause has one for the first two.
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	}
	os.Exit(applets.Run(context.Background(), system{signals: make(chan os.Signal, 1)}, args))
}

// system is this process on the operating system.
type system struct {
	files
	signals chan os.Signal
}

var _ applets.System = system{}
