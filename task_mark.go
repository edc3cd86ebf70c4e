package containerd

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	tasktypes "github.com/containerd/containerd/api/types/task"
)

const (
	// markWindow is how long after its mark was written a task's process can
	// have been made by the call that wrote it.
	markWindow = 60 * ticksPerSecond
	// markLifetime is how long a dead process's mark counts.
	markLifetime = 60 * 60 * ticksPerSecond
	// ticksPerSecond is the unit of process start times: USER_HZ, the same on
	// every Linux architecture that Go supports.
	ticksPerSecond = 100
)

// A start mark is a small file that exists while a call creates and starts a
// task. If the process is killed between the two, it tells a later call whose
// the created task is: the task itself has no place for it.

// markStart writes the mark of a start. It returns a function that removes it,
// also when it could not be written: a start does not depend on its mark.
func (s *DefaultService) markStart(id string) (remove func() error) {
	none := func() error { return nil }
	dir, err := runtimeDir("starts")
	if err != nil {
		return none
	}
	s.markSweep.Do(func() { sweepMarks(dir) })
	path := filepath.Join(dir, s.markKey(id)+"-"+rand.Text()[:8])
	text := fmt.Sprintf("%s\n%d\n", s.owner, bootTicks())
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return none
	}
	return func() error { return removeMark(path) }
}

func removeMark(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// sweepMarks removes the marks that dead processes left long ago. One that
// can't be removed does no harm.
func sweepMarks(dir string) {
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return
	}
	for _, path := range paths {
		o, at, err := readMark(path)
		if err != nil || !o.dead() || bootTicks() < at+markLifetime {
			continue
		}
		if err := removeMark(path); err != nil {
			return
		}
	}
}

// markKey names the daemon's address, the namespace and the container.
func (s *DefaultService) markKey(id string) string {
	var address string
	if conn := s.conn(); conn != nil {
		address = conn.CanonicalTarget()
	}
	sum := sha256.Sum256([]byte(address + "\x00" + s.namespace + "\x00" + id))
	return hex.EncodeToString(sum[:16])
}

// starter tells whose start made the created task p: owner is nil if there is
// no mark that fits, and path is the mark.
func (s *DefaultService) starter(id string, p *tasktypes.Process) (by *owner, path string) {
	dir, err := runtimeDir("starts")
	if err != nil {
		return nil, ""
	}
	paths, err := filepath.Glob(filepath.Join(dir, s.markKey(id)+"-*"))
	if err != nil {
		return nil, ""
	}
	made, err := strconv.ParseInt(startTime(strconv.FormatUint(uint64(p.GetPid()), 10)), 10, 64)
	if err != nil {
		return nil, ""
	}
	for _, path := range paths {
		o, at, err := readMark(path)
		if err == nil && at <= made && made <= at+markWindow {
			return &o, path
		}
	}
	return nil, ""
}

func readMark(path string) (o owner, at int64, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return o, 0, err
	}
	first, second, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	if o, err = parseOwner(first); err != nil {
		return o, 0, err
	}
	at, err = strconv.ParseInt(second, 10, 64)
	return o, at, err
}
