package embedded

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// enterRootless finds out what this process can do in its user namespace.
func (d *daemon) enterRootless() (err error) {
	// This also shows whether the namespace comes with the power to mount, which
	// security modules can withhold.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return explainNoUserNamespace(os.NewSyscallError("mount", err))
	}
	if d.uids, err = readIDMap("/proc/self/uid_map"); err != nil {
		return err
	}
	d.gids, err = readIDMap("/proc/self/gid_map")
	return err
}

// rootlessSpec drops from a container's spec what needs root on the host, and
// refuses IDs that are not mapped.
func (d *daemon) rootlessSpec(spec *specs.Spec) error {
	spec.Linux.CgroupsPath = ""
	spec.Linux.Resources = nil
	spec.Mounts = slices.DeleteFunc(spec.Mounts, func(m specs.Mount) bool {
		return m.Type == "cgroup" || m.Type == "cgroup2"
	})
	hostNetwork := !slices.ContainsFunc(spec.Linux.Namespaces, func(ns specs.LinuxNamespace) bool {
		return ns.Type == specs.NetworkNamespace && ns.Path == ""
	})
	for i := range spec.Mounts {
		d.rootlessMount(&spec.Mounts[i], hostNetwork)
	}
	if spec.Process == nil {
		return nil
	}
	if len(spec.Linux.UIDMappings) == 0 {
		if err := d.rootlessUser(&spec.Process.User); err != nil {
			return err
		}
	}
	rootlessLimits(spec.Process)
	return nil
}

func (d *daemon) rootlessMount(m *specs.Mount, hostNetwork bool) {
	m.Options = slices.DeleteFunc(m.Options, func(option string) bool {
		id, ok := strings.CutPrefix(option, "gid=")
		if !ok {
			return false
		}
		gid, err := strconv.ParseUint(id, 10, 32)
		return err == nil && !d.gids.has(uint32(gid))
	})
	if m.Type == "sysfs" && hostNetwork {
		// Only the owner of the network namespace may mount a new one.
		m.Type, m.Source = "none", "/sys"
		m.Options = append(m.Options, "rbind")
	}
}

func (d *daemon) rootlessUser(u *specs.User) error {
	if !d.uids.has(u.UID) || !d.gids.has(u.GID) {
		return fmt.Errorf("process has uid %d and gid %d, which this user has no subordinate IDs for: %w",
			u.UID, u.GID, errdefs.ErrFailedPrecondition)
	}
	u.AdditionalGids = slices.DeleteFunc(u.AdditionalGids, func(gid uint32) bool { return !d.gids.has(gid) })
	return nil
}

// rootlessLimits lowers limits that only root can raise to what they are.
func rootlessLimits(p *specs.Process) {
	for i, limit := range p.Rlimits {
		resource, ok := rlimits[limit.Type]
		var own unix.Rlimit
		if !ok || unix.Getrlimit(resource, &own) != nil {
			continue
		}
		p.Rlimits[i].Hard = min(limit.Hard, own.Max)
		p.Rlimits[i].Soft = min(limit.Soft, own.Max)
	}
	if p.OOMScoreAdj == nil {
		return
	}
	data, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return
	}
	if own, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil {
		*p.OOMScoreAdj = max(*p.OOMScoreAdj, own)
	}
}

var rlimits = map[string]int{
	"RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_CPU": unix.RLIMIT_CPU,
	"RLIMIT_DATA": unix.RLIMIT_DATA, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS,
	"RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK, "RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE,
	"RLIMIT_NOFILE": unix.RLIMIT_NOFILE, "RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_RSS": unix.RLIMIT_RSS,
	"RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO, "RLIMIT_RTTIME": unix.RLIMIT_RTTIME,
	"RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING, "RLIMIT_STACK": unix.RLIMIT_STACK,
}
