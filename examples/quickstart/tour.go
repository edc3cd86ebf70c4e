package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/ctrdkit/containerd"
)

const (
	first   = "first"
	second  = "second"
	version = "first-v1" // the committed file system of the first container
)

// tour is the main job, one step after the other.
func tour(ctx context.Context, svc containerd.Engine) error {
	registry, ref, err := sampleImage(ctx)
	if err != nil {
		return err
	}
	defer registry.Close()
	capabilities, err := svc.Capabilities(ctx)
	if err != nil {
		return err
	}
	snapshotter := capabilities.Snapshotter

	steps := []struct {
		name string
		do   func() (detail string, err error)
	}{
		{"pull the image", func() (string, error) { return pull(ctx, svc, ref) }},
		{"create a container", func() (string, error) {
			_, err := svc.CreateContainer(ctx, containerd.CreateContainerRequest{
				ID:       first,
				ImageRef: ref,
				Labels:   map[string]string{"example.com/tour": "yes"},
			})
			return first, err
		}},
		{"start its task", func() (string, error) {
			task, err := svc.StartTask(ctx, first, nil)
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("PID %d", task.Pid()), nil
		}},
		{"run a command in it", func() (string, error) {
			return execute(ctx, svc, first, "echo hello from $(hostname), user $(id -u); echo kept > /greeting; exit 7", 7)
		}},
		{"list containers by label", func() (string, error) {
			list, err := svc.ListContainersByLabel(ctx, "example.com/tour", "yes")
			if err == nil && len(list) != 1 {
				err = fmt.Errorf("found %d containers, want 1", len(list))
			}
			return fmt.Sprintf("%d found", len(list)), err
		}},
		{"list running tasks", func() (string, error) {
			list, err := svc.ListTasks(ctx, &containerd.ListTasksOptions{Filter: "status==RUNNING"})
			if err == nil && len(list) != 1 {
				err = fmt.Errorf("found %d tasks, want 1", len(list))
			}
			return fmt.Sprintf("%d found", len(list)), err
		}},
		{"stop the task", func() (string, error) {
			return "its image's stop signal, 5 s of grace", svc.StopTask(ctx, first, &containerd.StopTaskOptions{
				Timeout: 5 * time.Second,
				Force:   true,
			})
		}},
		{"delete the task", func() (string, error) { return first, svc.DeleteTask(ctx, first, nil) }},
		{"commit its snapshot", func() (string, error) {
			return version, svc.CommitSnapshot(ctx, snapshotter, version, first)
		}},
		{"prepare a snapshot on that", func() (string, error) {
			return second, svc.PrepareSnapshot(ctx, snapshotter, second, version)
		}},
		{"create a container from it", func() (string, error) {
			_, err := svc.CreateContainerFromSnapshot(ctx, containerd.CreateContainerRequest{
				ID:         second,
				ImageRef:   ref,
				SnapshotID: second,
			})
			return second, err
		}},
		{"start the second task", func() (string, error) {
			_, err := svc.StartTask(ctx, second, nil)
			return second, err
		}},
		{"see the first one's file", func() (string, error) { return execute(ctx, svc, second, "cat /greeting", 0) }},
		{"delete everything", func() (string, error) { return "", removeAll(ctx, svc) }},
		{"look what is left", func() (string, error) { return leftovers(ctx, svc) }},
	}
	for _, step := range steps {
		start := time.Now()
		detail, err := step.do()
		if err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		report(step.name, start, detail)
	}
	return nil
}

// execute runs a shell line, whose output goes to this program's, and checks
// its exit code.
func execute(ctx context.Context, svc containerd.TaskService, id, line string, want uint32) (string, error) {
	result, err := svc.ExecTask(ctx, id, containerd.ExecTaskRequest{Args: []string{"sh", "-c", line}, UseStdio: true})
	if err == nil && result.ExitCode != want {
		err = fmt.Errorf("exit code %d, want %d", result.ExitCode, want)
	}
	return fmt.Sprintf("exit code %d", result.ExitCode), err
}

// runImage pulls an image and runs a command, or the image's own, in it. It
// returns the command's exit code.
func runImage(ctx context.Context, svc containerd.Engine, ref string, args []string) (code int, err error) {
	start := time.Now()
	detail, err := pull(ctx, svc, ref)
	if err != nil {
		return 1, err
	}
	report("pull the image", start, detail)
	req := containerd.CreateContainerRequest{ID: first, ImageRef: ref}
	if len(args) > 0 {
		req.SpecOpts = append(req.SpecOpts, withArgs(args))
	}
	if _, err := svc.CreateContainer(ctx, req); err != nil {
		return 1, err
	}
	task, err := svc.StartTask(ctx, first, &containerd.StartTaskOptions{UseStdio: true})
	if err != nil {
		return 1, err
	}
	exited, err := task.Wait(ctx)
	if err != nil {
		return 1, err
	}
	exit := <-exited
	exitCode, _, err := exit.Result()
	if err != nil {
		return 1, errors.Join(ctx.Err(), err)
	}
	if _, err := task.Delete(context.WithoutCancel(ctx)); err != nil {
		return 1, err
	}
	return int(exitCode), nil
}

// scoped is for what the containerd client is asked directly.
func scoped(ctx context.Context, svc containerd.Connection) context.Context {
	return namespaces.WithNamespace(ctx, svc.Namespace())
}
