package containerd

import (
	"crypto/rand"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
)

const (
	// labelOwner marks what this package holds for the time of one call, and
	// who holds it.
	labelOwner = "ctrdkit.io/owner"
	// labelOperation says for the reader what the call is about.
	labelOperation = "ctrdkit.io/operation"
	// extensionOrigin ties a container record to the call that made it.
	extensionOrigin = "ctrdkit.io/origin"
)

// owner identifies one service of one process, across reboots and PID reuse.
// Fields that the system does not tell are empty; such an owner is never
// considered dead.
type owner struct {
	boot    string // kernel's boot ID
	pidns   string // PID namespace
	pid     string
	start   string // process start time, in clock ticks since boot
	service string // random
}

// process is what all services of this process share.
var process = sync.OnceValue(func() owner {
	pid := strconv.Itoa(os.Getpid())
	o := owner{pid: pid, start: startTime(pid)}
	if id, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		o.boot = strings.TrimSpace(string(id))
	}
	if ns, err := os.Readlink("/proc/self/ns/pid"); err == nil {
		o.pidns = strings.Trim(strings.TrimPrefix(ns, "pid:"), "[]")
	}
	return o
})

func newOwner() owner {
	o := process()
	o.service = rand.Text()
	return o
}

func (o owner) String() string {
	return strings.Join([]string{o.boot, o.pidns, o.pid, o.start, o.service}, "/")
}

func parseOwner(text string) (owner, error) {
	f := strings.Split(text, "/")
	if len(f) != 5 {
		return owner{}, fmt.Errorf("owner %s has %d fields, want 5", quoted(text), len(f))
	}
	return owner{boot: f[0], pidns: f[1], pid: f[2], start: f[3], service: f[4]}, nil
}

// dead reports whether it is proven that o's process has ended: the machine
// was booted since, or the PID is free or belongs to a younger process. What
// another PID namespace does can't be seen from here.
func (o owner) dead() bool {
	self := process()
	if o.boot == "" || o.pidns == "" || o.start == "" || self.boot == "" || o.pidns != self.pidns {
		return false
	}
	return o.boot != self.boot || startTime(o.pid) != o.start
}

// startTime returns field 22 of /proc/PID/stat, or "" if there is no such process.
func startTime(pid string) string {
	if _, err := strconv.ParseUint(pid, 10, 32); err != nil {
		return ""
	}
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return ""
	}
	// The second field is the command in parentheses, which may contain anything.
	i := strings.LastIndexByte(string(stat), ')')
	fields := strings.Fields(string(stat[i+1:]))
	if i < 0 || len(fields) < 20 {
		return ""
	}
	return fields[19]
}
