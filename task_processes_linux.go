package containerd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ticks is the kernel's unit of time in /proc, 1/100 s on every machine that Go
// runs on.
const ticks = 10 * time.Millisecond

// processDetails returns what /proc says of a process of the container, or nil
// if there is no such process here.
func processDetails(pid uint32, containerID string, budget *argsBudget) *ProcessDetails {
	details, err := readProcess(path.Join("/proc", strconv.FormatUint(uint64(pid), 10)), budget.limit())
	// The PID may have been taken by another process since the daemon listed it,
	// or be one of another machine: only what is in the container's cgroup is its.
	if err != nil || !inCgroupOf(pid, containerID) {
		return nil
	}
	budget.spend(details.Args)
	return details
}

var errProcFormat = errors.New("unknown format")

// readProcess reads the files of a process in dir, of its arguments no more than
// limit. All of them can be as large as the process likes, or nearly.
func readProcess(dir string, limit int) (*ProcessDetails, error) {
	stat, _, err := readSome(path.Join(dir, "stat"), maxStat)
	if err != nil {
		return nil, err
	}
	status, _, err := readSome(path.Join(dir, "status"), maxStatus)
	if err != nil {
		return nil, err
	}
	cmdline, more, err := readSome(path.Join(dir, "cmdline"), limit)
	if err != nil {
		return nil, err
	}
	d := &ProcessDetails{Args: []string{}}
	if err := d.parseStat(string(stat)); err != nil {
		return nil, fmt.Errorf("%s/stat: %w", dir, err)
	}
	if err := d.parseStatus(string(status)); err != nil {
		return nil, fmt.Errorf("%s/status: %w", dir, err)
	}
	d.parseArgs(string(cmdline), more)
	return d, nil
}

const (
	maxStat   = 4 << 10
	maxStatus = 1 << 20 // it has the process's groups: up to 65536
)

// readSome reads at most limit bytes of a file, and says whether there are more.
func readSome(name string, limit int) (text []byte, more bool, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, false, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	text, err = io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if len(text) > limit {
		return text[:limit], true, err
	}
	return text, false, err
}

// parseArgs reads the file cmdline, each argument of which has a NUL at its end.
func (d *ProcessDetails) parseArgs(text string, more bool) {
	if text == "" {
		return
	}
	if d.ArgsTruncated = more; !more {
		text = strings.TrimSuffix(text, "\x00")
	}
	args := strings.SplitN(text, "\x00", maxArgCount+1)
	if len(args) > maxArgCount {
		args, d.ArgsTruncated = args[:maxArgCount], true
	}
	d.Args = args
}

// parseStat reads the one line of the file stat. The name in it is in
// parentheses, and can contain anything.
func (d *ProcessDetails) parseStat(line string) error {
	from, to := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if from < 0 || to < from {
		return errProcFormat
	}
	d.Command = line[from+1 : to]
	fields := strings.Fields(line[to+1:]) // from field 3 on, the state
	if len(fields) < 20 {
		return errProcFormat
	}
	parent, err := strconv.ParseUint(fields[1], 10, 32)
	if err != nil {
		return errProcFormat
	}
	started, err := strconv.ParseInt(fields[19], 10, 64) // field 22
	if err != nil {
		return errProcFormat
	}
	boot, err := bootTime()
	if err != nil {
		return err
	}
	d.State, d.ParentPID = processState(fields[0]), uint32(parent)
	d.StartedAt = boot.Add(time.Duration(started) * ticks)
	return nil
}

func processState(letter string) ProcessState {
	switch letter {
	case "R":
		return ProcessRunning
	case "S":
		return ProcessSleeping
	case "D":
		return ProcessBlocked
	case "T", "t":
		return ProcessStopped
	case "Z", "X":
		return ProcessZombie
	case "I":
		return ProcessIdle
	}
	return ProcessState(letter)
}

// parseStatus reads what the file status has and stat has not.
func (d *ProcessDetails) parseStatus(text string) error {
	var found int
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		if name != "Uid" && name != "Gid" && name != "NSpid" {
			continue // some lines are long
		}
		fields := strings.Fields(value)
		var into *uint32
		var nth int
		switch name {
		case "Uid": // real, effective, saved, file system
			into, nth = &d.UID, 1
		case "Gid":
			into, nth = &d.GID, 1
		case "NSpid": // one for each PID namespace, the innermost last
			into, nth = &d.ContainerPID, len(fields)-1
		}
		if nth < 0 || nth >= len(fields) {
			return errProcFormat
		}
		n, err := strconv.ParseUint(fields[nth], 10, 32)
		if err != nil {
			return errProcFormat
		}
		*into = uint32(n)
		found++
	}
	if found != 3 {
		return errProcFormat
	}
	return nil
}

// bootTime returns when this machine was started.
var bootTime = sync.OnceValues(func() (time.Time, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return time.Time{}, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "btime "); ok {
			seconds, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return time.Unix(seconds, 0), err
		}
	}
	return time.Time{}, fmt.Errorf("/proc/stat: %w", errProcFormat)
})
