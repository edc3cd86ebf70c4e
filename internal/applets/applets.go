// Package applets is a small userland: a shell and the commands that tests and
// examples run in containers. It is written against [System], so that the same
// command lines behave the same as processes of a real container and as
// goroutines of a fake one.
package applets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"syscall"
)

// applet does what the command of its name does, with the arguments after it.
type applet func(ctx context.Context, sys System, args []string) error

// exitCode is the error of an applet that ends with another code than 0 or 1.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

var applets = map[string]applet{
	"cat":       cat,
	"chmod":     chmod,
	"echo":      echo,
	"env":       env,
	"false":     func(context.Context, System, []string) error { return exitCode(1) },
	"head":      head,
	"hold":      hold,
	"hostname":  hostname,
	"id":        id,
	"kill":      kill,
	"ln":        ln,
	"ls":        ls,
	"mkdir":     mkdir,
	"pause":     pause,
	"pwd":       pwd,
	"readlink":  readlink,
	"rm":        rm,
	"sh":        sh,
	"sha256sum": sha256sum,
	"sigtrap":   sigtrap,
	"sleep":     sleep,
	"touch":     touch,
	"true":      func(context.Context, System, []string) error { return nil },
	"tty":       tty,
	"wc":        wc,
	"zeros":     zeros,
}

// Names returns the names of all applets, sorted.
func Names() []string { return slices.Sorted(maps.Keys(applets)) }

// Run runs the applet that args[0] is the name or path of as the process sys,
// and returns its exit code: 127, with a message on stderr, if there is no such
// applet; 141 if it lost the reader of its output, as if SIGPIPE had killed it.
//
// ctx ending means that the process has been killed: Run returns 137 as soon as
// the applet notices. It notices at once in what takes a ctx; reads and writes
// of the standard streams are for sys to end. Children live on. So may a
// shell's background jobs, but only to end: they start nothing anymore.
func Run(ctx context.Context, sys System, args []string) (code int) {
	name := ""
	if len(args) > 0 {
		name = path.Base(args[0])
	}
	run := applets[name]
	if run == nil {
		complain(sys, "%s: no such command\n", name)
		return 127
	}
	err := run(ctx, sys, args[1:])
	exit, coded := errors.AsType[exitCode](err)
	switch {
	case err == nil, coded:
		return int(exit)
	case ctx.Err() != nil:
		return killedBy(syscall.SIGKILL)
	case isBrokenPipe(err):
		return killedBy(syscall.SIGPIPE)
	}
	complain(sys, "%s: %v\n", name, err)
	return 1
}

// killedBy is the exit code of a process that a signal killed.
func killedBy(sig syscall.Signal) int { return 128 + int(sig) }

// isBrokenPipe says whether err is what the writer to a pipe gets whose reader
// is gone; or, in one address space, which the shell that made it has closed.
func isBrokenPipe(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, fs.ErrClosed)
}

// say prints a line on stdout.
func say(sys System, a ...any) error {
	_, err := fmt.Fprintln(sys.Stdout(), a...)
	return err
}

func complain(sys System, format string, a ...any) {
	fmt.Fprintf(sys.Stderr(), format, a...) //nolint:errcheck // nobody is left to be told
}
