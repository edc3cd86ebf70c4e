// Package applets is a small userland: a shell and the commands that tests and
// examples run in containers. It is written against [System], so that the same
// command lines behave the same as processes of a real container and as
// goroutines of a fake one.
//
// An applet knows the flags of its usage line, means by them what POSIX or
// coreutils do, and takes no other: those are usage errors, with exit code 2.
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
	"strings"
	"syscall"
)

// many is for an applet that takes any number of operands.
const many = 1 << 30

// applet is a command.
type applet struct {
	run      func(ctx context.Context, sys System, c call) error
	usage    string // what may follow the name
	flags    string // as for getopt; see parse
	raw      bool   // it finds its flags itself
	min, max int    // how many operands it takes
}

// exitCode is the error of an applet that ends with another code than 0 or 1.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// usageCode is the exit code of an applet that does not take its arguments.
const usageCode = 2

var applets = map[string]applet{
	"cat":       {run: cat, usage: "[FILE...]", max: many},
	"chmod":     {run: chmod, usage: "OCTAL FILE...", min: 2, max: many},
	"echo":      {run: echo, usage: "[-neE] [WORD...]", raw: true},
	"env":       {run: env, usage: "[-i] [-u NAME] [NAME=VALUE...] [COMMAND [ARG...]]", flags: "+iu:", max: many},
	"false":     {run: func(context.Context, System, call) error { return exitCode(1) }, raw: true},
	"head":      {run: head, usage: "[-n N | -N | -c N] [FILE...]", flags: "#n:c:", max: many},
	"hold":      {run: hold, usage: "SECONDS", min: 1, max: 1},
	"hostname":  {run: hostname},
	"id":        {run: id, usage: "[-u | -g | -G] [-n]", flags: "ugGn"},
	"kill":      {run: kill, usage: "[-s SIGNAL | -SIGNAL] PID...", raw: true},
	"ln":        {run: ln, usage: "[-s] [-f] TARGET NAME", flags: "sf", min: 2, max: 2},
	"ls":        {run: ls, usage: "[-a | -A] [-1] [FILE...]", flags: "aA1", max: many},
	"mkdir":     {run: mkdir, usage: "[-p] DIR...", flags: "p", min: 1, max: many},
	"pause":     {run: pause},
	"printenv":  {run: printenv, usage: "[NAME...]", max: many},
	"pwd":       {run: pwd},
	"readlink":  {run: readlink, usage: "FILE...", min: 1, max: many},
	"rm":        {run: rm, usage: "[-f] [-r | -R] FILE...", flags: "frR", max: many},
	"sh":        {run: sh, usage: "[-efluxn] [-o OPTION] [-c LINE [NAME] | FILE] [ARG...]", flags: "+cefluxno:", max: many},
	"sha256sum": {run: sha256sum, usage: "[FILE...]", max: many},
	"sigtrap":   {run: sigtrap, usage: "SIGNAL CODE|ignore", min: 2, max: 2},
	"sleep":     {run: sleep, usage: "NUMBER[s|m|h|d]...", min: 1, max: many},
	"tail":      {run: tail, usage: "[-n [+]N | -N | -c [+]N] [-f] [FILE...]", flags: "#n:c:f", max: many},
	"touch":     {run: touch, usage: "FILE...", min: 1, max: many},
	"true":      {run: func(context.Context, System, call) error { return nil }, raw: true},
	"tty":       {run: tty},
	"wc":        {run: wc, usage: "[-l] [-w] [-c] [FILE...]", flags: "lwc", max: many},
	"zeros":     {run: zeros, usage: "N", min: 1, max: 1},
}

// Names returns the names of all applets, sorted.
func Names() []string { return slices.Sorted(maps.Keys(applets)) }

// Usage returns how an applet is called, as in "mkdir [-p] DIR...".
func Usage(name string) string { return strings.TrimSpace(name + " " + applets[name].usage) }

// Run runs the applet that args[0] is the name or path of as the process sys,
// and returns its exit code: 127, with a message on stderr, if there is no such
// applet; 2 if it does not take its arguments; 141 if it lost the reader of its
// output, as if SIGPIPE had killed it.
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
	a, ok := applets[name]
	if !ok {
		complain(sys, "%s: no such command\n", name)
		return 127
	}
	c, err := a.call(args[1:])
	if err == nil {
		err = a.run(ctx, sys, c)
	}
	exit, coded := errors.AsType[exitCode](err)
	wrong, misused := errors.AsType[usageError](err)
	switch {
	case err == nil, coded:
		return int(exit)
	case ctx.Err() != nil:
		return killedBy(syscall.SIGKILL)
	case isBrokenPipe(err):
		return killedBy(syscall.SIGPIPE)
	case misused:
		complain(sys, "%s: %susage: %s\n", name, wrong, Usage(name))
		return usageCode
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
