package containerd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"regexp"

	"github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/types/known/anypb"
)

// Unlimited as the value of a limit of [Resources] removes the limit.
const Unlimited = -1

const (
	// cpuPeriod is the period of CPU limits, in microseconds.
	cpuPeriod = 100_000
	// minCPUs and maxCPUs are what the kernel accepts in that period.
	minCPUs, maxCPUs = 0.01, 1 << 20

	minShares, maxShares = 2, 1 << 18
	minWeight, maxWeight = 10, 1000
)

// Resources are limits of a container's use of its machine. The zero value of a
// field leaves as it is what the field is about.
type Resources struct {
	// CPUs is how many processors' time may be used, for example 1.5;
	// [Unlimited] removes the limit.
	CPUs float64 `json:"cpus,omitempty"`
	// CPUShares is the weight against other containers when processors are
	// scarce, 2 to 262144; it is 1024 where nothing is said.
	CPUShares uint64 `json:"cpuShares,omitempty"`
	// CPUSet are the processors that may be used, and MemoryNodes the memory
	// nodes, for example "0-2,4".
	CPUSet      string `json:"cpuSet,omitempty"`
	MemoryNodes string `json:"memoryNodes,omitempty"`

	// MemoryLimitBytes is how much memory may be used; [Unlimited] removes the
	// limit. A limit below what is in use is refused by version 1 of cgroups, and
	// makes version 2 kill.
	MemoryLimitBytes int64 `json:"memoryLimitBytes,omitempty"`
	// MemoryAndSwapLimitBytes is how much memory and swap may be used together;
	// [Unlimited] removes the limit.
	MemoryAndSwapLimitBytes int64 `json:"memoryAndSwapLimitBytes,omitempty"`
	// MemoryReservationBytes is how much memory the container should keep when
	// memory is scarce.
	MemoryReservationBytes int64 `json:"memoryReservationBytes,omitempty"`

	// PIDsLimit is how many processes and threads there may be; [Unlimited]
	// removes the limit.
	PIDsLimit int64 `json:"pidsLimit,omitempty"`
	// BlockIOWeight is the weight against other containers when disks are busy,
	// 10 to 1000. It needs an IO scheduler that knows weights: without one the
	// runtime refuses it.
	BlockIOWeight uint16 `json:"blockIOWeight,omitempty"`
}

// UpdateResourcesOptions says how [TaskController.UpdateResources] updates. It
// has no fields yet; nil and the zero value are the same.
type UpdateResourcesOptions struct{}

// UpdateResourcesResult is what was updated.
type UpdateResourcesResult struct {
	// Live says that a task was there whose limits were changed, besides the
	// stored ones.
	Live bool `json:"live"`
}

// UpdateResources changes limits of the container containerID: in its stored
// spec, for later starts, and in its task, if it has one that has not stopped.
// It does both or neither: when the runtime refuses a limit, or ctx ends, the
// stored spec becomes again what it was, unless somebody else changed it
// meanwhile, and the task's limits are set back to the stored ones. A
// reservation, a weight or a set of processors that was not stored before can't
// be taken back from a task, and may stay there; so may limits that the runtime
// refuses to set back, which the error says.
//
// It returns an invalid-argument error if nothing is to be changed, or for
// values that no kernel accepts, and a not-found error if there is no such
// container. What only the runtime or the kernel refuse is the runtime's error.
func (s *DefaultService) UpdateResources(ctx context.Context, containerID string, resources Resources, _ *UpdateResourcesOptions) (UpdateResourcesResult, error) {
	const op = "update resources"
	err := firstError(checkID("containerID", containerID), resources.check())
	if err == nil {
		ctx, err = s.begin(ctx)
	}
	if err != nil {
		return UpdateResourcesResult{}, opError(ctx, op, containerID, err)
	}
	live, err := s.updateResources(ctx, containerID, resources)
	return UpdateResourcesResult{Live: live}, opError(ctx, op, containerID, err)
}

var setOfNumbers = regexp.MustCompile(`^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$`)

func (r Resources) check() error {
	switch {
	case r == (Resources{}):
		return invalid("resources are empty")
	case math.IsNaN(r.CPUs), r.CPUs != 0 && r.CPUs != Unlimited && (r.CPUs < minCPUs || r.CPUs > maxCPUs):
		return invalid("CPUs %v is neither Unlimited nor between %v and %v", r.CPUs, minCPUs, maxCPUs)
	case r.CPUShares != 0 && (r.CPUShares < minShares || r.CPUShares > maxShares):
		return invalid("CPUShares %d is not between %d and %d", r.CPUShares, minShares, maxShares)
	case r.BlockIOWeight != 0 && (r.BlockIOWeight < minWeight || r.BlockIOWeight > maxWeight):
		return invalid("BlockIOWeight %d is not between %d and %d", r.BlockIOWeight, minWeight, maxWeight)
	case r.MemoryReservationBytes < 0:
		return invalid("MemoryReservationBytes %d is negative", r.MemoryReservationBytes)
	case r.MemoryAndSwapLimitBytes > 0 && (r.MemoryLimitBytes > r.MemoryAndSwapLimitBytes || r.MemoryLimitBytes == Unlimited):
		return invalid("MemoryAndSwapLimitBytes %d is below MemoryLimitBytes", r.MemoryAndSwapLimitBytes)
	}
	for name, value := range map[string]int64{
		"MemoryLimitBytes": r.MemoryLimitBytes, "MemoryAndSwapLimitBytes": r.MemoryAndSwapLimitBytes, "PIDsLimit": r.PIDsLimit,
	} {
		if value < Unlimited {
			return invalid("%s %d is negative and not Unlimited", name, value)
		}
	}
	for name, value := range map[string]string{"CPUSet": r.CPUSet, "MemoryNodes": r.MemoryNodes} {
		if value != "" && !setOfNumbers.MatchString(value) {
			return invalid("%s %s is no list of numbers and ranges", name, quoted(value))
		}
	}
	return nil
}

// updateResources holds the container's lock, so that no start of this process
// comes between the two halves.
func (s *DefaultService) updateResources(ctx context.Context, id string, resources Resources) (live bool, err error) {
	unlock, err := s.lockID(ctx, id)
	if err != nil {
		return false, err
	}
	defer unlock()
	lasting, cancel := outlive(ctx)
	defer cancel()
	u := &updating{service: s, id: id, changes: resources.changes()}
	if live, err = u.run(ctx, lasting); err != nil {
		return false, s.takeBack(lasting, id, &u.undo, endedBy(ctx, err))
	}
	return live, nil
}

// updating is one update of resources. Its requests are not cut short when the
// call's context ends: a runtime that is killed leaves half of the limits.
type updating struct {
	service *DefaultService
	id      string
	changes []resourceChange
	undo    undo
}

func (u *updating) run(ctx, lasting context.Context) (live bool, err error) {
	s, store := u.service, u.service.client.ContainerService()
	record, err := s.load(ctx, u.id)
	if err != nil {
		return false, err
	}
	before := record.Spec
	stored, err := readResources(before)
	if err != nil {
		return false, err
	}
	after, err := stored.with(u.changes)
	if err != nil {
		return false, err
	}
	if !bytes.Equal(before.GetValue(), after.spec.GetValue()) {
		u.undo.push("container's spec", func(ctx context.Context) error {
			now, err := store.Get(ctx, u.id)
			if err != nil || !bytes.Equal(now.Spec.GetValue(), after.spec.GetValue()) {
				return err
			}
			now.Spec = before
			_, err = store.Update(ctx, now, "spec")
			return err
		})
		record.Spec = after.spec
		if _, err := store.Update(lasting, record, "spec"); err != nil {
			return false, err
		}
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	return u.updateTask(lasting, after.live(u.changes), stored.previous(u.changes))
}

// updateTask changes the task's limits. A runtime that refuses one of them has
// set those that it came to before, which are set back to previous at once; if
// its answer is lost, they are when it can be reached again.
func (u *updating) updateTask(ctx context.Context, limits, previous specsResources) (live bool, err error) {
	var unclear bool
	u.undo.push("task's limits", func(ctx context.Context) error {
		if !unclear {
			return nil
		}
		_, err := u.setLimits(ctx, previous)
		return err
	})
	live, err = u.setLimits(ctx, limits)
	if err == nil {
		return live, nil
	}
	if unclear = unanswered(err); unclear {
		return false, err
	}
	if _, backErr := u.setLimits(ctx, previous); backErr != nil {
		if unclear = unanswered(backErr); !unclear {
			err = fmt.Errorf("%w (the limits could not be set back: %s)", err, backErr.Error())
		}
	}
	return false, err
}

// setLimits reports false without an error if there is no task, or one that has stopped.
func (u *updating) setLimits(ctx context.Context, limits specsResources) (live bool, err error) {
	s := u.service
	value, err := json.Marshal(limits)
	if err != nil {
		return false, err
	}
	packed := &anypb.Any{TypeUrl: resourcesType, Value: value}
	_, err = s.client.TaskService().Update(ctx, &tasks.UpdateTaskRequest{ContainerID: u.id, Resources: packed})
	if err = native(err); err == nil {
		return true, nil
	}
	p, lookErr := s.process(ctx, u.id, "")
	if errdefs.IsNotFound(lookErr) || lookErr == nil && p.GetStatus() == tasktypes.Status_STOPPED {
		return false, nil
	}
	return false, err
}

// resourcesType is the name under which containerd's client sends resources.
var resourcesType = func() string {
	name, err := typeurl.TypeURL(&specs.LinuxResources{})
	if err != nil { // not registered: shims don't look at it
		return "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources"
	}
	return name
}()
