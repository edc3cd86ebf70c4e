// Package logger lets a program's own binary be the logger of its containers:
// import it, for nothing but that, in the program that starts tasks with
// containerd.LogIO.
//
//	import _ "github.com/ctrdkit/containerd/logger"
//
// containerd then starts this very executable once per such task, and gives it
// the task's output. It ends with the output, whatever becomes of the program
// or of containerd. The executable has to stay where it is while tasks are
// started; a logger that runs does not need it any more.
//
// A logger is recognised by its arguments when the package is initialised, so
// that the program's main does not run in it. Importing the package does nothing
// else.
package logger

import (
	"os"

	"github.com/ctrdkit/containerd/internal/logfile"
)

func init() {
	if len(os.Args) == 3 && os.Args[1] == logfile.Role {
		os.Exit(logfile.Main(os.Args[2]))
	}
	logfile.Program = os.Executable
}
