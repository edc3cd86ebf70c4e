package containerd

import (
	"iter"
	"reflect"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/internal/logfile"
)

// A method that is not in the table would escape every rule that holds for all.
func TestEveryMethodOfEngineIsInTheTable(t *testing.T) {
	var want, have []string
	ctx := reflect.TypeFor[ctxT]()
	for m := range reflect.TypeFor[Engine]().Methods() {
		if m.Type.NumIn() > 0 && m.Type.In(0) == ctx {
			want = append(want, m.Name)
		}
	}
	for name := range methods(t) {
		have = append(have, name)
	}
	slices.Sort(have)
	assert.Equal(t, want, have)
}

// through ranges over a sequence to its end and returns its first error.
func through[V any](seq iter.Seq2[V, error]) error {
	for _, err := range seq {
		if err != nil {
			return err
		}
	}
	return nil
}

// first leaves a sequence, which has no end of its own, after its first value.
func first[V any](seq iter.Seq2[V, error]) error {
	for _, err := range seq {
		return err
	}
	return nil
}

// brief lets the task "web" end as soon as somebody waits for it.
func brief(d *daemon) { d.taskStates["web"].brief = true }

// logged gives the task "web" a log, whose logger runs.
func logged(d *daemon) {
	config := logfile.Config{Dir: d.t.TempDir(), Owner: logOwner(testNamespace, canned("web"))}
	w, err := logfile.Create(config)
	require.NoError(d.t, err)
	d.t.Cleanup(func() { assert.NoError(d.t, w.Close()) })
	address, err := logfile.Address("/logger", config)
	require.NoError(d.t, err)
	d.taskStates["web"].Stdout, d.taskStates["web"].Stderr = address, address
	d.stores.containers["web"].Labels = map[string]string{labelLogDir: config.Dir}
}

func addLaunchMethods(ms map[string]method) {
	wait := func(ctx ctxT, s svcT, id string, opts *WaitTaskOptions) error {
		_, err := s.WaitTask(ctx, id, opts)
		return err
	}
	ms["WaitTask"] = method{
		op: "wait for task", id: "web", args: []string{"web"}, given: brief,
		call:     func(ctx ctxT, s svcT, a []string) error { return wait(ctx, s, a[0], nil) },
		withNil:  func(ctx ctxT, s svcT) error { return wait(ctx, s, "web", nil) },
		withZero: func(ctx ctxT, s svcT) error { return wait(ctx, s, "web", &WaitTaskOptions{}) },
	}
	ms["LaunchTask"] = method{
		op: "launch task", id: "idle", args: []string{"idle"},
		call: func(ctx ctxT, s svcT, a []string) error {
			_, err := s.LaunchTask(ctx, a[0], LaunchTaskRequest{})
			return err
		},
	}
	ms["RestartTask"] = method{
		op: "restart task", id: "web", args: []string{"web"},
		call: func(ctx ctxT, s svcT, a []string) error {
			_, err := s.RestartTask(ctx, a[0], RestartTaskRequest{})
			return err
		},
	}
}

func addLogMethods(ms map[string]method) {
	ms["Logs"] = method{
		op: "read logs", id: "web", args: []string{"web"}, given: logged,
		call:     func(ctx ctxT, s svcT, a []string) error { return through(s.Logs(ctx, a[0], nil)) },
		withNil:  func(ctx ctxT, s svcT) error { return through(s.Logs(ctx, "web", nil)) },
		withZero: func(ctx ctxT, s svcT) error { return through(s.Logs(ctx, "web", &LogsOptions{})) },
	}
	ms["AttachTask"] = method{
		op: "attach task", id: "web", args: []string{"web"}, given: logged,
		call: func(ctx ctxT, s svcT, a []string) error {
			attached, err := s.AttachTask(ctx, a[0], AttachTaskRequest{})
			if err != nil {
				return err
			}
			return attached.Detach()
		},
	}
}

func addControlMethods(ms map[string]method) {
	signal := func(ctx ctxT, s svcT, id string, opts *SignalTaskOptions) error {
		return s.SignalTask(ctx, id, syscall.SIGUSR1, opts)
	}
	ms["SignalTask"] = method{
		op: "signal task", id: "web", args: []string{"web"},
		given:    func(d *daemon) { d.taskStates["web"].deaf = true }, // to be signalled again
		call:     func(ctx ctxT, s svcT, a []string) error { return signal(ctx, s, a[0], nil) },
		withNil:  func(ctx ctxT, s svcT) error { return signal(ctx, s, "web", nil) },
		withZero: func(ctx ctxT, s svcT) error { return signal(ctx, s, "web", &SignalTaskOptions{}) },
	}
	ms["PauseTask"] = method{
		op: "pause task", id: "web", args: []string{"web"},
		given:    func(d *daemon) { control(d) },
		call:     func(ctx ctxT, s svcT, a []string) error { return s.PauseTask(ctx, a[0], nil) },
		withNil:  func(ctx ctxT, s svcT) error { return s.PauseTask(ctx, "web", nil) },
		withZero: func(ctx ctxT, s svcT) error { return s.PauseTask(ctx, "web", &PauseTaskOptions{}) },
	}
	ms["ResumeTask"] = method{
		op: "resume task", id: "web", args: []string{"web"},
		given:    func(d *daemon) { d.taskStates["web"].Status = paused },
		call:     func(ctx ctxT, s svcT, a []string) error { return s.ResumeTask(ctx, a[0], nil) },
		withNil:  func(ctx ctxT, s svcT) error { return s.ResumeTask(ctx, "web", nil) },
		withZero: func(ctx ctxT, s svcT) error { return s.ResumeTask(ctx, "web", &ResumeTaskOptions{}) },
	}
	list := func(ctx ctxT, s svcT, id string, opts *ListProcessesOptions) error {
		_, err := s.ListProcesses(ctx, id, opts)
		return err
	}
	ms["ListProcesses"] = method{
		op: "list processes", id: "web", args: []string{"web"},
		call:     func(ctx ctxT, s svcT, a []string) error { return list(ctx, s, a[0], nil) },
		withNil:  func(ctx ctxT, s svcT) error { return list(ctx, s, "web", nil) },
		withZero: func(ctx ctxT, s svcT) error { return list(ctx, s, "web", &ListProcessesOptions{}) },
	}
	update := func(ctx ctxT, s svcT, id string, opts *UpdateResourcesOptions) error {
		_, err := s.UpdateResources(ctx, id, Resources{PIDsLimit: 9}, opts)
		return err
	}
	ms["UpdateResources"] = method{
		op: "update resources", id: "web", args: []string{"web"},
		given:    func(d *daemon) { control(d).setSpec(oldSpec) },
		call:     func(ctx ctxT, s svcT, a []string) error { return update(ctx, s, a[0], nil) },
		withNil:  func(ctx ctxT, s svcT) error { return update(ctx, s, "web", nil) },
		withZero: func(ctx ctxT, s svcT) error { return update(ctx, s, "web", &UpdateResourcesOptions{}) },
	}
}

func addMonitorMethods(ms map[string]method) {
	metrics := func(ctx ctxT, s svcT, id string, opts *TaskMetricsOptions) error {
		_, err := s.TaskMetrics(ctx, id, opts)
		return err
	}
	ms["TaskMetrics"] = method{
		op: "measure task", id: "web", args: []string{"web"},
		given:    func(d *daemon) { measure(d).set(1, 1) },
		call:     func(ctx ctxT, s svcT, a []string) error { return metrics(ctx, s, a[0], nil) },
		withNil:  func(ctx ctxT, s svcT) error { return metrics(ctx, s, "web", nil) },
		withZero: func(ctx ctxT, s svcT) error { return metrics(ctx, s, "web", &TaskMetricsOptions{}) },
	}
	often := &WatchMetricsOptions{Interval: time.Millisecond}
	ms["WatchMetrics"] = method{
		op: "watch metrics", id: "web", args: []string{"web"},
		given:    func(d *daemon) { brief(d); measure(d).set(1, 1) },
		call:     func(ctx ctxT, s svcT, a []string) error { return through(s.WatchMetrics(ctx, a[0], often)) },
		withNil:  func(ctx ctxT, s svcT) error { return through(s.WatchMetrics(ctx, "web", nil)) },
		withZero: func(ctx ctxT, s svcT) error { return through(s.WatchMetrics(ctx, "web", &WatchMetricsOptions{})) },
	}
	of := &WatchOOMOptions{ContainerID: "web"}
	ms["WatchOOM"] = method{
		op: "watch for kills", id: "web",
		given: func(d *daemon) {
			m := measure(d)
			var kills atomic.Uint64 // each watch sees another one
			m.ordered, m.watched = true, func() { m.oom("web", kills.Add(1), 0) }
		},
		call:     func(ctx ctxT, s svcT, _ []string) error { return first(s.WatchOOM(ctx, of)) },
		withNil:  func(ctx ctxT, s svcT) error { return first(s.WatchOOM(ctx, nil)) },
		withZero: func(ctx ctxT, s svcT) error { return first(s.WatchOOM(ctx, &WatchOOMOptions{})) },
	}
}
