package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/containerd/console"

	"github.com/ctrdkit/containerd/internal/applets"
)

func (system) Stdin() io.Reader  { return os.Stdin }
func (system) Stdout() io.Writer { return os.Stdout }
func (system) Stderr() io.Writer { return os.Stderr }

func (system) IsTerminal() bool {
	_, err := console.ConsoleFromFile(os.Stdin)
	return err == nil
}

func (system) Environ() []string         { return os.Environ() }
func (system) Getwd() (string, error)    { return os.Getwd() }
func (system) Getpid() int               { return os.Getpid() }
func (system) Getuid() int               { return os.Getuid() }
func (system) Getgid() int               { return os.Getgid() }
func (system) Getgroups() ([]int, error) { return os.Getgroups() }
func (system) Hostname() (string, error) { return os.Hostname() }

func (system) Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s system) Trap(signals ...syscall.Signal) {
	for _, sig := range signals {
		signal.Notify(s.signals, sig)
	}
}

func (s system) NextSignal(ctx context.Context) (syscall.Signal, error) {
	// Without a trap nothing would ever come, which Go's runtime takes for a deadlock.
	alive := time.NewTimer(math.MaxInt64)
	defer alive.Stop()
	select {
	case <-alive.C:
		return 0, context.DeadlineExceeded
	case got := <-s.signals:
		sig, ok := got.(syscall.Signal)
		if !ok {
			return 0, fmt.Errorf("signal %v has no number", got)
		}
		return sig, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (system) Kill(pid int, sig syscall.Signal) error { return syscall.Kill(pid, sig) }

func (system) Plays(*applets.Command) bool { return false }

// pipeDelay is how long a child's output is waited for, after its end, where a
// child of its own holds the pipe open: a command substitution ends then.
const pipeDelay = time.Second

func (system) Start(c *applets.Command) (func(context.Context) (int, error), error) {
	program := c.Path
	if program == "" {
		program = "/proc/self/exe"
	}
	command := func() *exec.Cmd {
		return &exec.Cmd{
			Path: program, Args: c.Args, Env: c.Env, Dir: c.Dir,
			Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr, WaitDelay: pipeDelay,
		}
	}
	cmd := command()
	err := cmd.Start()
	// A process that was forked a moment ago, and has not called exec, may still
	// hold the program open for writing.
	for delay := time.Millisecond; errors.Is(err, syscall.ETXTBSY) && delay < 300*time.Millisecond; delay *= 2 {
		time.Sleep(delay)
		cmd = command()
		err = cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (int, error) { return wait(ctx, cmd) }, nil
}

func wait(ctx context.Context, cmd *exec.Cmd) (int, error) {
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		failed, ok := errors.AsType[*exec.ExitError](err)
		switch {
		case err == nil, errors.Is(err, exec.ErrWaitDelay):
			return 0, nil
		case !ok:
			return 0, err
		}
		if status, ok := failed.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal()), nil
		}
		return failed.ExitCode(), nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
