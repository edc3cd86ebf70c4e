package containerd

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"syscall"
	"testing"
	"time"

	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/runc/options"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
)

// controlled is a daemon that pauses, updates and lists processes as containerd does.
type controlled struct {
	*daemon
	processes []*tasktypes.ProcessInfo
	updates   []specs.LinuxResources
}

// control makes the daemon a controlled one.
func control(d *daemon) *controlled {
	c := &controlled{daemon: d}
	state := func(id string) (*taskState, error) {
		if c.stores.containers[id] == nil {
			return nil, errdefs.ErrNotFound
		}
		return c.taskStates.find(id, "")
	}
	c.Tasks.EXPECT().Pause(mock.Anything, mock.Anything).RunAndReturn(serve(c.daemon, "Tasks/Pause",
		func(r *tasksapi.PauseTaskRequest) (*emptypb.Empty, error) {
			p, err := state(r.GetContainerID())
			switch {
			case err != nil:
				return nil, err
			case p.Status != running:
				return nil, errUnclassed
			}
			p.Status = paused
			return &emptypb.Empty{}, nil
		})).Maybe()
	c.Tasks.EXPECT().Update(mock.Anything, mock.Anything).RunAndReturn(serve(c.daemon, "Tasks/Update",
		func(r *tasksapi.UpdateTaskRequest) (*emptypb.Empty, error) {
			p, err := state(r.GetContainerID())
			switch {
			case err != nil:
				return nil, err
			case p.Status == stopped:
				return nil, errUnclassed
			}
			assert.Equal(c.t, "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources", r.GetResources().GetTypeUrl())
			var limits specs.LinuxResources
			assert.NoError(c.t, json.Unmarshal(r.GetResources().GetValue(), &limits))
			c.updates = append(c.updates, limits)
			return &emptypb.Empty{}, nil
		})).Maybe()
	return c
}

// newControlled is a controlled daemon whose processes the test lists.
func newControlled(t *testing.T) *controlled {
	t.Helper()
	c := control(newDaemon(t))
	c.Tasks.ExpectedCalls = slices.DeleteFunc(c.Tasks.ExpectedCalls, func(e *mock.Call) bool { return e.Method == "ListPids" })
	c.Tasks.EXPECT().ListPids(mock.Anything, mock.Anything).RunAndReturn(serve(c.daemon, "Tasks/ListPids",
		func(*tasksapi.ListPidsRequest) (*tasksapi.ListPidsResponse, error) {
			return &tasksapi.ListPidsResponse{Processes: c.processes}, nil
		})).Maybe()
	return c
}

// errUnclassed is what a shim's bare text becomes.
var errUnclassed = errdefs.ErrUnknown.WithMessage("cannot do that in this state")

func (c *controlled) list(pids ...uint32) {
	for _, pid := range pids {
		c.processes = append(c.processes, &tasktypes.ProcessInfo{Pid: pid})
	}
}

func (c *controlled) pid(id string) (pid uint32) {
	c.change(id, func(p *taskState) { pid = p.Pid })
	return pid
}

func TestSignalTaskSendsTheSignal(t *testing.T) {
	c := newControlled(t)
	s := c.service()
	require.NoError(t, s.SignalTask(t.Context(), "web", syscall.SIGUSR1, nil))
	_, code := c.statusOf("web")
	assert.Equal(t, 128+int(syscall.SIGUSR1), code)
	assert.Equal(t, []string{"Tasks/Get", "Tasks/Kill"}, c.methods())
}

func TestSignalTaskToAll(t *testing.T) {
	exec := func(id string) *anypb.Any {
		info, err := typeurl.MarshalAnyToProto(&options.ProcessDetails{ExecID: id})
		require.NoError(t, err)
		return info
	}
	for what, test := range map[string]struct {
		signal syscall.Signal
		others []*tasktypes.ProcessInfo
		class  func(error) bool
		kills  int
	}{
		"a kill is one request":                {signal: syscall.SIGKILL, kills: 1},
		"each exec, and the first one last":    {signal: syscall.SIGUSR1, others: []*tasktypes.ProcessInfo{{Pid: noPID, Info: exec("e")}}, kills: 2},
		"an exec that has ended":               {signal: syscall.SIGUSR1, others: []*tasktypes.ProcessInfo{{Pid: noPID, Info: exec("gone")}}, kills: 2},
		"others only on the daemon's machine":  {signal: syscall.SIGUSR1, others: []*tasktypes.ProcessInfo{{Pid: noPID}}, kills: 1, class: errdefs.IsNotImplemented},
		"details of another kind mean nothing": {signal: syscall.SIGUSR1, others: []*tasktypes.ProcessInfo{{Pid: noPID, Info: &anypb.Any{TypeUrl: "x"}}}, kills: 1, class: errdefs.IsNotImplemented},
	} {
		t.Run(what, func(t *testing.T) {
			c := newControlled(t)
			c.taskStates["web/e"] = c.newTask("")
			c.list(c.pid("web"))
			c.processes = append(c.processes, test.others...)
			err := c.service().SignalTask(t.Context(), "web", test.signal, &SignalTaskOptions{All: true})
			if test.class == nil {
				require.NoError(t, err)
			} else {
				assertError(t, err, "signal task", test.class, "class")
			}
			assert.Len(t, slices.DeleteFunc(c.methods(), func(m string) bool { return m != "Tasks/Kill" }), test.kills)
			_, code := c.statusOf("web")
			assert.Equal(t, 128+int(test.signal), code, "the first process gets it in any case")
		})
	}
	t.Run("a list that fails", func(t *testing.T) {
		c := newControlled(t)
		c.fail("Tasks/ListPids", errUnclassed)
		err := c.service().SignalTask(t.Context(), "web", syscall.SIGUSR1, &SignalTaskOptions{All: true})
		assertError(t, err, "signal task", errdefs.IsInternal, "class")
		c.assertStatus("web", int32(running), "nothing was signalled")
	})
}

func TestSignalTaskInWrongStates(t *testing.T) {
	c := newControlled(t)
	c.addTask("idle", created)
	s := c.service()
	for id, class := range map[string]func(error) bool{
		"idle": errdefs.IsFailedPrecondition, "done": errdefs.IsFailedPrecondition, "nobody": errdefs.IsNotFound,
	} {
		assertError(t, s.SignalTask(t.Context(), id, syscall.SIGTERM, nil), "signal task", class, id)
	}
	assert.NotContains(t, c.methods(), "Tasks/Kill")
	for _, signal := range []syscall.Signal{0, -1, 65} {
		assertError(t, s.SignalTask(t.Context(), "web", signal, nil), "signal task", errdefs.IsInvalidArgument, "%d", signal)
	}
}

func TestSignalTaskThatEndsMeanwhile(t *testing.T) {
	for what, test := range map[string]struct {
		end   func(c *controlled)
		err   error
		class func(error) bool
	}{
		"and has stopped":       {end: func(c *controlled) { c.taskStates["web"].end(0) }, err: errdefs.ErrNotFound, class: errdefs.IsFailedPrecondition},
		"and is gone":           {end: func(c *controlled) { delete(c.taskStates, "web") }, err: errdefs.ErrNotFound, class: errdefs.IsNotFound},
		"and is not reaped yet": {end: func(*controlled) {}, err: errdefs.ErrNotFound, class: errdefs.IsFailedPrecondition},
		"not, but it fails":     {end: func(*controlled) {}, err: errUnclassed, class: errdefs.IsInternal},
		"not, but it is lost":   {end: func(*controlled) {}, err: errdefs.ErrUnavailable, class: errdefs.IsUnavailable},
	} {
		t.Run(what, func(t *testing.T) {
			c := newControlled(t)
			c.on("Tasks/Kill", func(context.Context) error {
				c.mu.Lock()
				defer c.mu.Unlock()
				test.end(c)
				return test.err
			})
			assertError(t, c.service().SignalTask(t.Context(), "web", syscall.SIGTERM, nil), "signal task", test.class, what)
		})
	}
}

func TestPauseTaskBringsTheTaskToItsState(t *testing.T) {
	c := newControlled(t)
	s := c.service()
	require.NoError(t, s.PauseTask(t.Context(), "web", nil))
	c.assertStatus("web", int32(paused), "paused")
	assert.Equal(t, []string{"Tasks/Pause"}, c.methods(), "one request")
	require.NoError(t, s.PauseTask(t.Context(), "web", nil), "it is paused")
	c.addTask("idle", running)
	require.NoError(t, s.ResumeTask(t.Context(), "idle", nil), "it runs")
}

func TestPauseTaskInWrongStates(t *testing.T) {
	c := newControlled(t)
	c.addTask("idle", created)
	s := c.service()
	for id, class := range map[string]func(error) bool{
		"idle": errdefs.IsFailedPrecondition, "done": errdefs.IsFailedPrecondition, "nobody": errdefs.IsNotFound, "-": errdefs.IsInvalidArgument,
	} {
		assertError(t, s.PauseTask(t.Context(), id, nil), "pause task", class, id)
		assertError(t, s.ResumeTask(t.Context(), id, nil), "resume task", class, id)
	}
}

func TestResumeTaskWaitsForAPauseUnderWay(t *testing.T) {
	c := newControlled(t)
	c.addTask("idle", pausing)
	s := c.service()
	clock := stopClock(s)
	done := async(func() error { return s.ResumeTask(t.Context(), "idle", nil) })
	clock.await(t, waitPause)
	c.change("idle", func(p *taskState) { p.Status = paused })
	clock.advance(waitPause)
	require.NoError(t, received(t, done))
}

func TestResumeTaskThatWasKilledMeanwhile(t *testing.T) {
	c := newControlled(t)
	c.addTask("idle", paused)
	refused := 0
	c.on("Tasks/Resume", func(context.Context) error {
		if refused++; refused == 2 { // the shim has noticed the end
			c.change("idle", func(p *taskState) { p.end(137) })
		}
		return errUnclassed
	})
	s := c.service()
	stopClock(s).run()

	err := s.ResumeTask(t.Context(), "idle", nil)

	assertError(t, err, "resume task", errdefs.IsFailedPrecondition, "it has ended")
}

func TestPauseTaskThatFails(t *testing.T) {
	for what, test := range map[string]struct {
		pause, look error
		class       func(error) bool
	}{
		"in the runtime":             {pause: errUnclassed, class: errdefs.IsInternal},
		"by a lost answer":           {pause: errdefs.ErrUnavailable, class: errdefs.IsUnavailable},
		"and can't be looked at":     {pause: errUnclassed, look: errdefs.ErrUnavailable, class: errdefs.IsInternal},
		"because the task went away": {pause: errUnclassed, look: errdefs.ErrNotFound, class: errdefs.IsNotFound},
	} {
		t.Run(what, func(t *testing.T) {
			c := newControlled(t)
			c.fail("Tasks/Pause", test.pause)
			if test.look != nil {
				c.fail("Tasks/Get", test.look)
			}
			assertError(t, c.service().PauseTask(t.Context(), "web", nil), "pause task", test.class, what)
		})
	}
	t.Run("only in its answer", func(t *testing.T) {
		c := newControlled(t)
		c.lose("Tasks/Pause")
		require.NoError(t, c.service().PauseTask(t.Context(), "web", nil), "it is paused")
	})
}

func TestPauseTaskIsNotCutShort(t *testing.T) {
	c := newControlled(t)
	ctx, cancel := context.WithCancel(t.Context())
	c.on("Tasks/Pause", func(ctx context.Context) error {
		cancel()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
			return nil
		}
	})
	require.NoError(t, c.service().PauseTask(ctx, "web", nil), "the pause came to its end")
	c.assertStatus("web", int32(paused), "nil means paused")

	c = newControlled(t)
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	c.hang("Tasks/Pause")
	began := time.Now()
	err := c.service().PauseTask(ctx, "web", nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Less(t, time.Since(began), 2*time.Second)
}

func TestListProcessesOfAnotherMachine(t *testing.T) {
	c := newControlled(t)
	first := c.pid("web")
	info, err := typeurl.MarshalAnyToProto(&options.ProcessDetails{ExecID: "e"})
	require.NoError(t, err)
	c.list(first+2, first)
	c.processes = append(c.processes, &tasktypes.ProcessInfo{Pid: first - 1, Info: info})

	list, err := c.service().ListProcesses(t.Context(), "web", nil)

	require.NoError(t, err)
	assert.Equal(t, []ProcessInfo{{PID: first}, {PID: first - 1, ExecID: "e"}, {PID: first + 2}}, list)
}

func TestListProcessesOfATaskThatIsJustEnding(t *testing.T) {
	c := newControlled(t)
	c.fail("Tasks/ListPids", errUnclassed)
	s := c.service()
	clock := stopClock(s)
	var list []ProcessInfo
	done := async(func() (err error) {
		list, err = s.ListProcesses(t.Context(), "web", nil)
		return err
	})
	clock.await(t, endingLimit)
	c.change("web", func(p *taskState) { p.end(137) })
	require.NoError(t, received(t, done))
	assert.Empty(t, list)
	assert.NotNil(t, list)
}

func TestListProcessesWithoutAny(t *testing.T) {
	c := newControlled(t)
	s := c.service()
	list, err := s.ListProcesses(t.Context(), "done", nil)
	require.NoError(t, err)
	assert.Empty(t, list)
	c.fail("Tasks/ListPids", errUnclassed)
	list, err = s.ListProcesses(t.Context(), "done", nil)
	require.NoError(t, err, "a runtime may fail to list what has stopped")
	assert.Empty(t, list)
	_, err = s.ListProcesses(t.Context(), "web", nil)
	assertError(t, err, "list processes", errdefs.IsInternal, "class")
	_, err = s.ListProcesses(t.Context(), "nobody", nil)
	assertError(t, err, "list processes", errdefs.IsNotFound, "class")
	_, err = s.ListProcesses(t.Context(), "-", nil)
	assertError(t, err, "list processes", errdefs.IsInvalidArgument, "class")
}

// setSpec gives the container "web" a spec.
func (c *controlled) setSpec(text string) {
	c.stores.containers["web"].Spec = &anypb.Any{TypeUrl: "spec", Value: []byte(text)}
}

func (c *controlled) spec() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.stores.containers["web"].GetSpec().GetValue())
}

// wantSpec checks the spec byte for byte.
func (c *controlled) wantSpec(want string) {
	c.t.Helper()
	assert.Equal(c.t, want, c.spec())
}

func ptr[T any](v T) *T { return &v }

const oldSpec = `{"future":1,"linux":{"namespaces":[],"resources":{"devices":[{"allow":false}],"memory":{"limit":1000,"future":2},"pids":{"limit":7}}}}`

func TestUpdateResourcesInBothPlaces(t *testing.T) {
	c := newControlled(t)
	c.setSpec(oldSpec)

	r, err := c.service().UpdateResources(t.Context(), "web", Resources{
		CPUs: 1.5, CPUShares: 512, CPUSet: "0-1,3", MemoryNodes: "0", MemoryLimitBytes: 4096, MemoryAndSwapLimitBytes: 8192,
		MemoryReservationBytes: 2048, PIDsLimit: Unlimited, BlockIOWeight: 100,
	}, nil)

	require.NoError(t, err)
	assert.True(t, r.Live)
	assert.Equal(t, []string{"Containers/Get", "Containers/Update", "Tasks/Update"}, c.methods())
	assert.JSONEq(t, `{"future":1,"linux":{"namespaces":[],"resources":{"devices":[{"allow":false}],
		"cpu":{"quota":150000,"period":100000,"shares":512,"cpus":"0-1,3","mems":"0"},
		"memory":{"limit":4096,"swap":8192,"reservation":2048,"future":2},"pids":{"limit":-1},"blockIO":{"weight":100}}}}`, c.spec())
	assert.Equal(t, []specs.LinuxResources{{
		CPU:     &specs.LinuxCPU{Quota: ptr(int64(150000)), Period: ptr(uint64(100000)), Shares: ptr(uint64(512)), Cpus: "0-1,3", Mems: "0"},
		Memory:  &specs.LinuxMemory{Limit: ptr(int64(4096)), Swap: ptr(int64(8192)), Reservation: ptr(int64(2048))},
		Pids:    &specs.LinuxPids{Limit: ptr(int64(-1))},
		BlockIO: &specs.LinuxBlockIO{Weight: ptr(uint16(100))},
	}}, c.updates)
}

func TestUpdateResourcesTellsTheTaskOnlyWhatChanges(t *testing.T) {
	for what, test := range map[string]struct {
		spec   string
		change Resources
		want   specs.LinuxResources
	}{
		"one limit":            {oldSpec, Resources{PIDsLimit: 9}, specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(9))}}},
		"no resources before":  {`{"linux":{}}`, Resources{CPUs: Unlimited}, specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(-1)), Period: ptr(uint64(100000))}}},
		"memory comes as pair": {oldSpec, Resources{MemoryAndSwapLimitBytes: 4000}, specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(1000)), Swap: ptr(int64(4000))}}},
	} {
		t.Run(what, func(t *testing.T) {
			c := newControlled(t)
			c.setSpec(test.spec)
			_, err := c.service().UpdateResources(t.Context(), "web", test.change, nil)
			require.NoError(t, err)
			assert.Equal(t, []specs.LinuxResources{test.want}, c.updates)
		})
	}
}

func TestUpdateResourcesWithoutATaskThatRuns(t *testing.T) {
	c := newControlled(t)
	for _, id := range []string{"idle", "done"} {
		c.stores.containers[id].Spec = &anypb.Any{TypeUrl: "spec", Value: []byte(oldSpec)}
		r, err := c.service().UpdateResources(t.Context(), id, Resources{PIDsLimit: 9}, nil)
		require.NoError(t, err, id)
		assert.False(t, r.Live, id)
		assert.Contains(t, string(c.stores.containers[id].GetSpec().GetValue()), `"limit":9`, id)
	}
	assert.Empty(t, c.updates)
}

func TestUpdateResourcesThatAreStoredAlready(t *testing.T) {
	c := newControlled(t)
	c.setSpec(`{"linux":{"resources":{"pids":{"limit":9}}}}`)
	_, err := c.service().UpdateResources(t.Context(), "web", Resources{PIDsLimit: 9}, nil)
	require.NoError(t, err)
	assert.NotContains(t, c.methods(), "Containers/Update", "nothing to write")
	assert.Len(t, c.updates, 1, "the task may have other limits than those stored")
}

func TestUpdateResourcesIsAllOrNothing(t *testing.T) {
	t.Run("when the runtime refuses", func(t *testing.T) {
		c := newControlled(t)
		c.setSpec(oldSpec)
		c.once("Tasks/Update", func(context.Context) error { return errUnclassed })
		_, err := c.service().UpdateResources(t.Context(), "web", Resources{PIDsLimit: 9}, nil)
		assertError(t, err, "update resources", errdefs.IsInternal, "class")
		c.wantSpec(oldSpec)
		want := []specs.LinuxResources{{Pids: &specs.LinuxPids{Limit: ptr(int64(7))}}}
		assert.Equal(t, want, c.updates, "what was set before the refusal is set back")
	})
	t.Run("or says what can't be set back", func(t *testing.T) {
		c := newControlled(t)
		c.setSpec(oldSpec)
		c.fail("Tasks/Update", errUnclassed)
		_, err := c.service().UpdateResources(t.Context(), "web", Resources{PIDsLimit: 9}, nil)
		assertError(t, err, "update resources", errdefs.IsInternal, "class")
		require.ErrorContains(t, err, "could not be set back")
		c.wantSpec(oldSpec)
		assert.Equal(t, 2, c.count("Tasks/Update"))
	})
	t.Run("also when the answer to setting back is lost", func(t *testing.T) {
		c := newControlled(t)
		c.setSpec(oldSpec)
		answers := []error{errUnclassed, errdefs.ErrUnavailable, nil}
		c.on("Tasks/Update", func(context.Context) error {
			answer := answers[0]
			answers = answers[1:]
			return answer
		})
		_, err := c.service().UpdateResources(t.Context(), "web", Resources{PIDsLimit: 9}, nil)
		assertError(t, err, "update resources", errdefs.IsInternal, "class")
		c.wantSpec(oldSpec)
		assert.Len(t, c.updates, 1, "it is set back when that can be")
	})
	t.Run("when the runtime's answer is lost", func(t *testing.T) {
		c := newControlled(t)
		c.setSpec(oldSpec)
		c.answer("Tasks/Update", errdefs.ErrUnavailable)
		c.once("Tasks/Get", func(context.Context) error { c.heal("Tasks/Update"); return nil })
		_, err := c.service().UpdateResources(t.Context(), "web", Resources{PIDsLimit: 9, CPUs: 2, CPUSet: "0"}, nil)
		assertError(t, err, "update resources", errdefs.IsUnavailable, "class")
		c.wantSpec(oldSpec)
		require.Len(t, c.updates, 2)
		assert.Equal(t, specs.LinuxResources{
			Pids: &specs.LinuxPids{Limit: ptr(int64(7))},
			CPU:  &specs.LinuxCPU{Quota: ptr(int64(-1)), Period: ptr(uint64(100000))},
		}, c.updates[1], "the limits are set back")
	})
	t.Run("when the answer to the record's update is lost", func(t *testing.T) {
		c := newControlled(t)
		c.setSpec(oldSpec)
		c.answer("Containers/Update", errdefs.ErrUnavailable)
		c.once("Containers/Get", func(context.Context) error {
			c.once("Containers/Get", func(context.Context) error { c.heal("Containers/Update"); return nil })
			return nil
		})
		_, err := c.service().UpdateResources(t.Context(), "web", Resources{PIDsLimit: 9}, nil)
		assertError(t, err, "update resources", errdefs.IsUnavailable, "class")
		c.wantSpec(oldSpec)
		assert.Empty(t, c.updates)
	})
	t.Run("but a spec that somebody else changed stays", func(t *testing.T) {
		c := newControlled(t)
		c.setSpec(oldSpec)
		const theirs = `{"linux":{"resources":{"pids":{"limit":100}}}}`
		c.on("Tasks/Update", func(context.Context) error {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.setSpec(theirs)
			return errUnclassed
		})
		_, err := c.service().UpdateResources(t.Context(), "web", Resources{PIDsLimit: 9}, nil)
		require.Error(t, err)
		c.wantSpec(theirs)
	})
	t.Run("when the context ends after the record was written", func(t *testing.T) {
		c := newControlled(t)
		c.setSpec(oldSpec)
		ctx, cancel := context.WithCancel(t.Context())
		c.on("Containers/Update", func(context.Context) error { cancel(); return nil })
		_, err := c.service().UpdateResources(ctx, "web", Resources{PIDsLimit: 9}, nil)
		require.ErrorIs(t, err, context.Canceled)
		c.wantSpec(oldSpec)
		assert.Empty(t, c.updates)
	})
}

func TestUpdateResourcesRefusesNonsense(t *testing.T) {
	c := newControlled(t)
	s := c.service()
	for field, r := range map[string]Resources{
		"empty": {}, "CPUs": {CPUs: math.NaN()}, "CPUs 0.001": {CPUs: 0.001}, "CPUs +Inf": {CPUs: math.Inf(1)}, "CPUs -2": {CPUs: -2},
		"CPUShares": {CPUShares: 1 << 19}, "CPUSet": {CPUSet: "0;1"}, "MemoryNodes": {MemoryNodes: "-"},
		"MemoryLimitBytes": {MemoryLimitBytes: -5}, "MemoryAndSwapLimitBytes": {MemoryLimitBytes: 9, MemoryAndSwapLimitBytes: 8},
		"MemoryReservationBytes": {MemoryReservationBytes: -1}, "PIDsLimit": {PIDsLimit: -3}, "BlockIOWeight": {BlockIOWeight: 1001},
		"MemoryAndSwapLimitBytes 8": {MemoryLimitBytes: Unlimited, MemoryAndSwapLimitBytes: 8},
	} {
		_, err := s.UpdateResources(t.Context(), "web", r, nil)
		assertError(t, err, "update resources", errdefs.IsInvalidArgument, field)
		assert.ErrorContains(t, err, field)
	}
	assert.Empty(t, c.Calls())
}

func TestUpdateResourcesRefusesWhatContradictsTheStoredSpec(t *testing.T) {
	for spec, class := range map[string]func(error) bool{
		`{"linux":{"resources":{"memory":{"limit":10,"swap":20}}}}`: errdefs.IsInvalidArgument,
		`{"windows":{}}`: errdefs.IsFailedPrecondition,
		`{"linux":7}`:    errdefs.IsFailedPrecondition,
		`{"linux":{"resources":{"memory":{"swap":"x"}}}}`: errdefs.IsFailedPrecondition,
		`{"linux":{"resources":{"memory":[]}}}`:           errdefs.IsFailedPrecondition,
		`{"linux":{"resources":[]}}`:                      errdefs.IsFailedPrecondition,
		`nothing`:                                         errdefs.IsFailedPrecondition,
	} {
		c := newControlled(t)
		c.setSpec(spec)
		_, err := c.service().UpdateResources(t.Context(), "web", Resources{MemoryLimitBytes: 30}, nil)
		assertError(t, err, "update resources", class, spec)
		c.wantSpec(spec)
	}
}
