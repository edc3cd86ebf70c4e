package containerd

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/types/known/anypb"
)

// resourceChange is one value of a spec's resources.
type resourceChange struct {
	group, field string
	value        any
	// unset is what a task's limit is set to when the spec has none; nil if a
	// task can't be without one once it had one.
	unset any
}

// changes are the values that the resources are about.
func (r Resources) changes() []resourceChange {
	var list []resourceChange
	add := func(changed bool, group, field string, value, unset any) {
		if changed {
			list = append(list, resourceChange{group: group, field: field, value: value, unset: unset})
		}
	}
	add(r.CPUs != 0, "cpu", "quota", quota(r.CPUs), Unlimited)
	add(r.CPUs != 0, "cpu", "period", cpuPeriod, cpuPeriod)
	add(r.CPUShares != 0, "cpu", "shares", r.CPUShares, 1024)
	add(r.CPUSet != "", "cpu", "cpus", r.CPUSet, nil)
	add(r.MemoryNodes != "", "cpu", "mems", r.MemoryNodes, nil)
	add(r.MemoryLimitBytes != 0, "memory", "limit", r.MemoryLimitBytes, Unlimited)
	add(r.MemoryAndSwapLimitBytes != 0, "memory", "swap", r.MemoryAndSwapLimitBytes, Unlimited)
	add(r.MemoryReservationBytes != 0, "memory", "reservation", r.MemoryReservationBytes, nil)
	add(r.PIDsLimit != 0, "pids", "limit", r.PIDsLimit, Unlimited)
	add(r.BlockIOWeight != 0, "blockIO", "weight", r.BlockIOWeight, nil)
	return list
}

func quota(cpus float64) int64 {
	if cpus == Unlimited {
		return Unlimited
	}
	return int64(math.Round(cpus * cpuPeriod))
}

type (
	jsonObject = map[string]json.RawMessage
	// specsResources are specs.LinuxResources of which only some fields are said.
	specsResources map[string]map[string]any
)

// specResources is a spec and the resources in it, both with everything that
// this package does not know.
type specResources struct {
	spec   typeurl.Any
	groups map[string]jsonObject
}

// readResources takes a spec apart.
func readResources(spec typeurl.Any) (specResources, error) {
	_, linux, resources, err := openResources(spec)
	if err != nil {
		return specResources{}, err
	}
	if linux == nil {
		return specResources{}, fmt.Errorf("container's spec is not one for Linux: %w", errdefs.ErrFailedPrecondition)
	}
	s := specResources{spec: spec, groups: map[string]jsonObject{}}
	for _, group := range []string{"cpu", "memory", "pids", "blockIO"} {
		var values jsonObject
		if err := decodeObject(resources[group], &values); err != nil {
			return specResources{}, err
		}
		s.groups[group] = values
	}
	return s, nil
}

// openResources returns a spec's fields, those of its Linux part, and those of
// the resources there.
func openResources(spec typeurl.Any) (fields, linux, resources jsonObject, err error) {
	if err := decodeSpec(spec, &fields); err != nil {
		return nil, nil, nil, err
	}
	if err := decodeObject(fields["linux"], &linux); err != nil {
		return nil, nil, nil, err
	}
	err = decodeObject(linux["resources"], &resources)
	return fields, linux, resources, err
}

func decodeObject(text json.RawMessage, into *jsonObject) error {
	if text == nil {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("container's spec: %w: %w", err, errdefs.ErrFailedPrecondition)
	}
	return nil
}

// with returns the spec with the changes made, and checks that it still makes sense.
func (s specResources) with(changes []resourceChange) (specResources, error) {
	fields, linux, resources, err := openResources(s.spec)
	if err != nil {
		return specResources{}, err
	}
	if resources == nil {
		resources = jsonObject{}
	}
	changed := specResources{groups: map[string]jsonObject{}}
	for name, values := range s.groups {
		merged := jsonObject{}
		for field, value := range values {
			merged[field] = value
		}
		changed.groups[name] = merged
	}
	for _, c := range changes {
		if changed.groups[c.group][c.field], err = json.Marshal(c.value); err != nil {
			return specResources{}, err
		}
		if err := putJSON(resources, c.group, changed.groups[c.group]); err != nil {
			return specResources{}, err
		}
	}
	if err := changed.checkMemory(); err != nil {
		return specResources{}, err
	}
	if err := putJSON(linux, "resources", resources); err != nil {
		return specResources{}, err
	}
	if err := putJSON(fields, "linux", linux); err != nil {
		return specResources{}, err
	}
	value, err := json.Marshal(fields)
	changed.spec = &anypb.Any{TypeUrl: s.spec.GetTypeUrl(), Value: value}
	return changed, err
}

func putJSON(into jsonObject, field string, value any) error {
	text, err := json.Marshal(value)
	into[field] = text
	return err
}

// checkMemory refuses what the kernel would: a limit of memory above that of
// memory and swap together, one of them given and the other one stored.
func (s specResources) checkMemory() error {
	var memory, both int64
	for field, into := range map[string]*int64{"limit": &memory, "swap": &both} {
		if text := s.groups["memory"][field]; text != nil {
			if err := json.Unmarshal(text, into); err != nil {
				return fmt.Errorf("container's spec: %w: %w", err, errdefs.ErrFailedPrecondition)
			}
		}
	}
	if both > 0 && (memory > both || memory < 0) {
		return invalid("MemoryLimitBytes %d is above MemoryAndSwapLimitBytes %d, one of which is stored and needs to be changed too", memory, both)
	}
	return nil
}

// live returns what a task is told of the changes. The limits of memory always
// come together: each is valid only with regard to the other.
func (s specResources) live(changes []resourceChange) specsResources {
	limits := specsResources{}
	for _, c := range changes {
		limits.set(c.group, c.field, c.value)
		for _, field := range []string{"limit", "swap"} {
			if text := s.groups["memory"][field]; c.group == "memory" && text != nil {
				limits.set("memory", field, text)
			}
		}
	}
	return limits
}

// previous returns what a task is told to take the changes back.
func (s specResources) previous(changes []resourceChange) specsResources {
	limits := specsResources{}
	for _, c := range changes {
		if text := s.groups[c.group][c.field]; text != nil {
			limits.set(c.group, c.field, text)
		} else if c.unset != nil {
			limits.set(c.group, c.field, c.unset)
		}
	}
	return limits
}

func (r specsResources) set(group, field string, value any) {
	if r[group] == nil {
		r[group] = map[string]any{}
	}
	r[group][field] = value
}
