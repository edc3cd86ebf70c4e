// Command userland is a small static Linux userland in one binary: a shell and
// the commands that tests and examples run in containers. Like busybox it acts
// as the command under whose name it is called.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// command does what the command of its name does, with the arguments after it.
type command func(args []string) error

// exitCode is the error of a command that ends with another code than 0 or 1.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

func main() {
	name, args := filepath.Base(os.Args[0]), os.Args[1:]
	if name == "userland" && len(args) > 0 {
		name, args = args[0], args[1:]
	}
	run := commands()[name]
	if run == nil {
		fmt.Fprintf(os.Stderr, "%s: no such command\n", name)
		os.Exit(127)
	}
	if os.Getpid() == 1 && name != "pause" {
		// As PID 1, a C program without a handler is not touched by these; Go's
		// runtime has handlers that would end it. pause has one for the first two.
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	}
	err := run(args)
	if code, ok := errors.AsType[exitCode](err); ok {
		os.Exit(int(code))
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

func commands() map[string]command {
	return map[string]command{
		"cat":       cat,
		"chmod":     chmod,
		"echo":      echo,
		"env":       env,
		"false":     func([]string) error { return exitCode(1) },
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
		"true":      func([]string) error { return nil },
		"tty":       tty,
		"wc":        wc,
		"zeros":     zeros,
	}
}
