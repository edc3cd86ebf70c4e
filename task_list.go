package containerd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/pkg/filters"
	"github.com/containerd/errdefs"
	"golang.org/x/sync/errgroup"

	"github.com/ctrdkit/containerd/internal/filter"
)

const (
	// slowList is how long the daemon waits for a shim's answer before it
	// leaves the task out of the list.
	slowList = 2 * time.Second
	// listGets bounds how many tasks are asked for at once.
	listGets = 16
)

// ListTasksOptions says which tasks [Service.ListTasks] returns. nil and the
// zero value are the same: all of them.
type ListTasksOptions struct {
	// Filter is in containerd's filter syntax over the fields id,
	// container.id, pid, status and exit_status, for example
	// `status==RUNNING` or `status==STOPPED,exit_status!="0"`. "" matches
	// every task.
	Filter string
}

// TaskInfo describes one task.
type TaskInfo struct {
	ContainerID string           // ID of the task's container
	ID          string           // ID of the task: the same
	PID         uint32           // process ID on the daemon's machine
	Status      tasktypes.Status // UNKNOWN if the task's shim does not answer
	ExitStatus  uint32           // exit code of a stopped task
}

// ListTasks returns the tasks that match opts.Filter, sorted by container ID.
// A task whose shim does not answer is listed with status UNKNOWN; the call
// takes seconds then. It returns an invalid-argument error for a filter that
// can't be parsed.
func (s *DefaultService) ListTasks(ctx context.Context, opts *ListTasksOptions) ([]TaskInfo, error) {
	const op = "list tasks"
	if opts == nil {
		opts = &ListTasksOptions{}
	}
	match, err := parseTaskFilter(opts.Filter)
	if err == nil {
		ctx, err = s.begin(ctx)
	}
	if err != nil {
		return nil, opError(ctx, op, "", err)
	}
	all, err := s.listTasks(ctx)
	if err != nil {
		return nil, opError(ctx, op, "", err)
	}
	matching := make([]TaskInfo, 0, len(all))
	for _, t := range all {
		if match.Match(filter.Task(t)) {
			matching = append(matching, t)
		}
	}
	slices.SortFunc(matching, func(a, b TaskInfo) int { return cmp.Compare(a.ContainerID, b.ContainerID) })
	return matching, nil
}

func parseTaskFilter(text string) (filters.Filter, error) {
	if err := checkOptional("Filter", text); err != nil {
		return nil, err
	}
	match, err := filter.ParseTask(text)
	if err != nil {
		return nil, fmt.Errorf("field Filter: %w", err)
	}
	return match, nil
}

func (s *DefaultService) listTasks(ctx context.Context) ([]TaskInfo, error) {
	began := s.clock.Now()
	r, err := s.client.TaskService().List(ctx, &tasks.ListTasksRequest{})
	if err != nil {
		return nil, err
	}
	all := make([]TaskInfo, 0, len(r.GetTasks()))
	for _, p := range r.GetTasks() {
		all = append(all, taskInfo(p.GetID(), p))
	}
	if s.clock.Now().Sub(began) < slowList {
		return all, nil
	}
	silent, err := s.silentTasks(ctx, all)
	return append(all, silent...), err
}

// silentTasks looks for the tasks that the daemon left out of its list because
// their shims did not answer.
func (s *DefaultService) silentTasks(ctx context.Context, listed []TaskInfo) ([]TaskInfo, error) {
	known := make(map[string]bool, len(listed))
	for _, t := range listed {
		known[t.ContainerID] = true
	}
	records, err := s.client.ContainerService().List(ctx)
	if err != nil {
		return nil, err
	}
	found := make([]*TaskInfo, len(records))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(listGets)
	for i, record := range records {
		if known[record.ID] {
			continue
		}
		group.Go(func() (err error) {
			found[i], err = s.findTask(groupCtx, record.ID)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var silent []TaskInfo
	for _, t := range found {
		if t != nil {
			silent = append(silent, *t)
		}
	}
	return silent, nil
}

// findTask returns the container's task, whose status is UNKNOWN if only its
// shim does not answer, or nil if there is none.
func (s *DefaultService) findTask(ctx context.Context, id string) (*TaskInfo, error) {
	for again := false; ; again = true {
		p, err := s.process(ctx, id, "")
		switch {
		case err == nil:
			info := taskInfo(id, p)
			return &info, nil
		case errdefs.IsNotFound(err):
			return nil, nil
		case !errdefs.IsUnavailable(err):
			return nil, err
		}
		// Whether it is the shim that is away, or the daemon, the daemon tells.
		if versionErr := s.version(ctx); versionErr != nil {
			return nil, err
		}
		if again || errors.Is(err, errShimSilent) {
			return &TaskInfo{ContainerID: id, ID: id, Status: tasktypes.Status_UNKNOWN}, nil
		}
	}
}

// taskInfo fills in the container's ID, which the daemon leaves empty.
func taskInfo(containerID string, p *tasktypes.Process) TaskInfo {
	return TaskInfo{
		ContainerID: containerID,
		ID:          p.GetID(),
		PID:         p.GetPid(),
		Status:      p.GetStatus(),
		ExitStatus:  p.GetExitStatus(),
	}
}
