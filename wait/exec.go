package wait

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/ctrdkit/containerd"
)

// Exec is the condition of [ForExec].
type Exec struct {
	args     []string
	interval time.Duration
}

// ForExec waits until a program that is run in the container exits with 0. Any
// other exit code means that it is to be run again. An error of
// [containerd.TaskService.ExecTask] ends the wait with its class, unless the
// daemon is away: the program is missing (not-found), or the task does not run
// (failed-precondition). A program that is running when ctx ends is killed.
func ForExec(args ...string) Exec { return Exec{args: args} }

// WithPollInterval returns the strategy with another time between the end of the
// program and its next run.
func (e Exec) WithPollInterval(d time.Duration) Exec { e.interval = d; return e }

// Wait implements [Strategy].
func (e Exec) Wait(ctx context.Context, target Target) error {
	return poll(ctx, "exec "+quoteAll(e.args), e.interval, func(ctx context.Context) error {
		return run(ctx, target, e.args)
	})
}

// run runs a program once.
func run(ctx context.Context, target Target, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("args are empty: %w", containerd.ErrInvalidArgument)
	}
	r, err := target.Service.ExecTask(ctx, target.ContainerID, containerd.ExecTaskRequest{Args: args})
	if err != nil {
		return err
	}
	if r.ExitCode != 0 {
		return notYet("exit code %d", r.ExitCode)
	}
	return nil
}

func quoteAll(args []string) string {
	quoted := make([]string, len(args))
	for i, arg := range args {
		quoted[i] = strconv.Quote(arg)
	}
	return strings.Join(quoted, " ")
}

// File is the condition of [ForFile].
type File struct {
	path     string
	interval time.Duration
}

// ForFile waits until there is a file, of any kind, at an absolute path in the
// container. It is looked for with the container's own sh: an image without one
// gives the errors of [ForExec].
func ForFile(path string) File { return File{path: path} }

// WithPollInterval returns the strategy with another time between two looks.
func (f File) WithPollInterval(d time.Duration) File { f.interval = d; return f }

// Wait implements [Strategy].
func (f File) Wait(ctx context.Context, target Target) error {
	return poll(ctx, "file "+strconv.Quote(f.path), f.interval, func(ctx context.Context) error {
		if !path.IsAbs(f.path) {
			return fmt.Errorf("path is not absolute: %w", containerd.ErrInvalidArgument)
		}
		return run(ctx, target, []string{"sh", "-c", `[ -e "$1" ]`, "sh", f.path})
	})
}
