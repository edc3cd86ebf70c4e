package embedded

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
)

// A daemon of a user other than root lives in a user and a mount namespace of
// its own, in which it is root. Its IDs come from /etc/subuid and /etc/subgid,
// through the setuid helpers newuidmap and newgidmap, where both exist;
// otherwise it has only one.

// idRange is a line of /etc/subuid or /etc/subgid.
type idRange struct{ start, count int }

// subIDs are a user's subordinate IDs, and the helpers that map them.
type subIDs struct {
	uids, gids           []idRange
	newuidmap, newgidmap string
}

// findSubIDs returns nil if there is anything missing for mapping more than
// one ID.
func findSubIDs() *subIDs {
	newuidmap, uerr := exec.LookPath("newuidmap")
	newgidmap, gerr := exec.LookPath("newgidmap")
	if uerr != nil || gerr != nil {
		return nil
	}
	names := []string{strconv.Itoa(os.Geteuid())}
	if u, err := user.LookupId(names[0]); err == nil {
		names = append(names, u.Username)
	}
	s := &subIDs{
		uids: readSubIDs("/etc/subuid", names), gids: readSubIDs("/etc/subgid", names),
		newuidmap: newuidmap, newgidmap: newgidmap,
	}
	if len(s.uids) == 0 || len(s.gids) == 0 {
		return nil
	}
	return s
}

// readSubIDs returns the ranges of the user with the given names. Lines it does
// not understand grant nothing.
func readSubIDs(path string, names []string) []idRange {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var ranges []idRange
	for line := range strings.Lines(string(data)) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) != 3 || (fields[0] != names[0] && fields[0] != names[len(names)-1]) {
			continue
		}
		start, serr := strconv.Atoi(fields[1])
		count, cerr := strconv.Atoi(fields[2])
		if serr == nil && cerr == nil && count > 0 {
			ranges = append(ranges, idRange{start, count})
		}
	}
	return ranges
}

// apply maps root to the user, and the subordinate IDs from 1 on, in the user
// namespace of the process pid.
func (s *subIDs) apply(pid int) error {
	if err := runMapper(s.newuidmap, pid, os.Geteuid(), s.uids); err != nil {
		return err
	}
	return runMapper(s.newgidmap, pid, os.Getegid(), s.gids)
}

func runMapper(path string, pid, own int, ranges []idRange) error {
	args := []string{strconv.Itoa(pid), "0", strconv.Itoa(own), "1"}
	next := 1
	for _, r := range ranges {
		args = append(args, strconv.Itoa(next), strconv.Itoa(r.start), strconv.Itoa(r.count))
		next += r.count
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", path, err, bytes.TrimSpace(out))
	}
	return nil
}

// oneID makes attr clone the child into namespaces in which it is root, with
// only the user's own IDs mapped.
func oneID(attr *syscall.SysProcAttr) {
	attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
}

func explainNoUserNamespace(err error) error {
	return fmt.Errorf("user %d cannot make a user namespace (%w): allow it with the sysctls user.max_user_namespaces, "+
		"kernel.unprivileged_userns_clone or kernel.apparmor_restrict_unprivileged_userns, as far as this kernel has them, or run as root: %w",
		os.Geteuid(), err, ErrNoUserNamespace)
}

// isNoUserNamespace tells the kernel's refusals from a failing exec.
func isNoUserNamespace(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOSPC) ||
		errors.Is(err, syscall.EUSERS) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSYS)
}

// idMap is the content of /proc/self/uid_map or gid_map.
type idMap []idRange

func readIDMap(path string) (idMap, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	var ids idMap
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var host int
		var r idRange
		if _, err := fmt.Sscan(lines.Text(), &r.start, &host, &r.count); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %q: %w", path, lines.Text(), err), f.Close())
		}
		ids = append(ids, r)
	}
	return ids, errors.Join(lines.Err(), f.Close())
}

func (m idMap) has(id uint32) bool {
	for _, r := range m {
		if int(id) >= r.start && int(id)-r.start < r.count {
			return true
		}
	}
	return false
}
