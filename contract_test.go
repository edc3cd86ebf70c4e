package containerd_test

import (
	"context"
	"reflect"
	"syscall"
	"testing"
	"time"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd"
)

// The structs of the contract: fields may only be appended to those that a
// caller fills in, and never to results.
var contractStructs = []struct {
	ours     any
	contract any
	result   bool
	holds    bool // has fields that make it not comparable
}{
	{ours: containerd.PullImageOptions{}, contract: struct {
		Unpack      bool
		Snapshotter string
	}{}},
	{ours: containerd.DeleteImageOptions{}, contract: struct{ Synchronous bool }{}},
	{ours: containerd.CreateContainerRequest{}, holds: true, contract: struct {
		ID, ImageRef, SnapshotID, Snapshotter string
		Labels                                map[string]string
		SpecOpts                              []oci.SpecOpts
	}{}},
	{ours: containerd.DeleteContainerOptions{}, contract: struct{ CleanupSnapshot bool }{}},
	{ours: containerd.StartTaskOptions{}, contract: struct {
		UseStdio, Terminal bool
		FIFODir            string
	}{}},
	{ours: containerd.StopTaskOptions{}, contract: struct {
		Signal  syscall.Signal
		Timeout time.Duration
		Force   bool
	}{}},
	{ours: containerd.DeleteTaskOptions{}, contract: struct{ Force bool }{}},
	{ours: containerd.ExecTaskRequest{}, holds: true, contract: struct {
		Args, Env          []string
		WorkDir            string
		Terminal, UseStdio bool
	}{}},
	{ours: containerd.ExecTaskResult{}, result: true, contract: struct{ ExitCode uint32 }{}},
	{ours: containerd.SnapshotCommitResult{}, result: true, contract: struct{ VersionSnapshotID, ActiveSnapshotID string }{}},
	{ours: containerd.ListTasksOptions{}, contract: struct{ Filter string }{}},
	{ours: containerd.TaskInfo{}, result: true, contract: struct {
		ContainerID, ID string
		PID             uint32
		Status          tasktypes.Status
		ExitStatus      uint32
	}{}},
}

func TestStructsAreThoseOfTheContract(t *testing.T) {
	for _, test := range contractStructs {
		ours, want := reflect.TypeOf(test.ours), reflect.TypeOf(test.contract)
		t.Run(ours.Name(), func(t *testing.T) {
			assert.Equal(t, !test.holds, ours.Comparable(), "comparable")
			require.GreaterOrEqual(t, ours.NumField(), want.NumField())
			if test.result {
				assert.Equal(t, want.NumField(), ours.NumField(), "a result never grows")
			}
			for i := range want.NumField() {
				assert.Equal(t, want.Field(i).Name, ours.Field(i).Name)
				assert.Equal(t, want.Field(i).Type, ours.Field(i).Type, "type of %s", want.Field(i).Name)
			}
		})
	}
}

func TestRolesHaveAtMostEightMethods(t *testing.T) {
	total := 0
	for _, role := range []reflect.Type{
		reflect.TypeFor[containerd.ImageService](),
		reflect.TypeFor[containerd.ContainerService](),
		reflect.TypeFor[containerd.TaskService](),
		reflect.TypeFor[containerd.SnapshotService](),
	} {
		assert.LessOrEqual(t, role.NumMethod(), 8, "%s", role)
		total += role.NumMethod()
	}
	assert.Equal(t, 19, total, "no method is in two roles")
	for _, role := range []reflect.Type{
		reflect.TypeFor[containerd.Connection](), reflect.TypeFor[containerd.Inspector](),
		reflect.TypeFor[containerd.Executor](), reflect.TypeFor[containerd.Exec](),
	} {
		assert.LessOrEqual(t, role.NumMethod(), 8, "%s", role)
	}
}

func TestConstantsAndSentinels(t *testing.T) {
	assert.Equal(t, "default", containerd.DefaultNamespace)
	assert.Equal(t, errdefs.ErrInvalidArgument, containerd.ErrInvalidArgument)
	assert.EqualError(t, containerd.ErrInvalidArgument, "invalid argument")
	assert.EqualError(t, containerd.ErrTaskStopTimeout, "timeout waiting for task to stop")
	assert.True(t, errdefs.IsDeadlineExceeded(containerd.ErrTaskStopTimeout))
	assert.NotErrorIs(t, containerd.ErrTaskStopTimeout, context.DeadlineExceeded, "the caller's context did not end")
}

func TestZeroNamespaceIsTheDefaultOne(t *testing.T) {
	s := containerd.NewDefaultService(nil, "")
	assert.Equal(t, containerd.DefaultNamespace, s.Namespace())
	assert.Nil(t, s.Client())
	assert.NoError(t, s.Close())
}
