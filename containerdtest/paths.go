package containerdtest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctrdkit/containerd/internal/applets"
)

// maxLinks is how many symbolic links Linux follows for one path.
const maxLinks = 40

// hostDevices are the devices that a container has, whatever its image has.
var hostDevices = []string{"/dev/null", "/dev/random", "/dev/urandom", "/dev/zero"}

// builtins are the commands that an image has without a file of their names.
var builtins = applets.Names()

// mounted is a directory or file of the host at a path of the container.
type mounted struct {
	target, source string
	readonly       bool
}

// mount mounts what the spec says, with an empty directory for what is not a
// bind mount.
func (t *task) mount(m specs.Mount) error {
	target, err := t.walk("/", m.Destination, true)
	if err != nil {
		return err
	}
	source := m.Source
	if m.Type != "bind" && !slices.Contains(m.Options, "bind") && !slices.Contains(m.Options, "rbind") {
		source = filepath.Join(t.scratch, strconv.Itoa(len(t.mounts)))
		if err := os.MkdirAll(source, 0o755); err != nil {
			return err
		}
	}
	info, err := os.Stat(source)
	if err != nil {
		return fmt.Errorf("failed to fulfil mount request: open %s: %w", source, errors.Unwrap(err))
	}
	if err := t.makeMountPoint(target, info.IsDir()); err != nil {
		return err
	}
	t.mounts = append(t.mounts, mounted{target, source, slices.Contains(m.Options, "ro")})
	return nil
}

// makeMountPoint makes a mount point as runtimes do, also where the container's
// processes can't write.
func (t *task) makeMountPoint(target string, dir bool) error {
	host, _ := t.place(target)
	if !dir {
		f, err := os.OpenFile(host, os.O_CREATE|os.O_RDONLY, 0o644)
		if errors.Is(err, fs.ErrNotExist) {
			if err = os.MkdirAll(filepath.Dir(host), 0o755); err == nil {
				f, err = os.OpenFile(host, os.O_CREATE|os.O_RDONLY, 0o644)
			}
		}
		if err != nil {
			return fmt.Errorf("creating mount point %s: %w", target, errors.Unwrap(err))
		}
		return f.Close()
	}
	if err := os.MkdirAll(host, 0o755); err != nil {
		return fmt.Errorf("mkdir %s: %w", target, errors.Unwrap(err))
	}
	return nil
}

// hostPath returns where a file is on the host that a process reads or executes:
// for a built-in command, which has none of its own, the one for all of them.
func (t *task) hostPath(dir, name string) (string, error) {
	name, err := t.walk(dir, name, true)
	if err != nil {
		return "", err
	}
	host, _ := t.place(name)
	if path.Dir(name) == "/bin" && slices.Contains(builtins, path.Base(name)) {
		host = builtinPath(host)
	}
	return host, nil
}

// locate returns where a path of the container is on the host, and whether that
// can't be written to. follow says whether to go on if it is a link.
func (t *task) locate(dir, name string, follow bool) (host string, readonly bool, err error) {
	name, err = t.walk(dir, name, follow)
	if err != nil {
		return "", false, err
	}
	host, readonly = t.place(name)
	return host, readonly, nil
}

// walk follows all links of a path in the container, which it so never leaves.
// What does not exist is no link.
func (t *task) walk(dir, name string, follow bool) (string, error) {
	if !path.IsAbs(name) {
		name = dir + "/" + name
	}
	at, rest := "/", elements(name)
	for links := 0; len(rest) > 0; {
		elem := rest[0]
		rest = rest[1:]
		if elem == ".." {
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, elem)
		host, _ := t.place(next)
		target, err := os.Readlink(host)
		if err != nil || len(rest) == 0 && !follow {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", &fs.PathError{Op: "open", Path: name, Err: syscall.ELOOP}
		}
		if path.IsAbs(target) {
			at = "/"
		}
		rest = slices.Concat(elements(target), rest)
	}
	return at, nil
}

// elements splits a path, and drops what means nothing.
func elements(name string) []string {
	return slices.DeleteFunc(strings.Split(name, "/"), func(elem string) bool { return elem == "" || elem == "." })
}

// place returns where a path without links is on the host, in the latest mount
// that it is below.
func (t *task) place(name string) (host string, readonly bool) {
	if slices.Contains(hostDevices, name) {
		return name, false
	}
	for _, m := range slices.Backward(t.mounts) {
		rest, below := strings.CutPrefix(name, m.target)
		if below && (rest == "" || rest[0] == '/' || m.target == "/") {
			return filepath.Join(m.source, rest), m.readonly
		}
	}
	return filepath.Join(t.root, name), t.readonly
}

// builtinPath returns host, the path of a command in /bin, or if it does not
// exist the file that stands for all commands, if the image has it.
func builtinPath(host string) string {
	if _, err := os.Lstat(host); !errors.Is(err, fs.ErrNotExist) {
		return host
	}
	stand := filepath.Join(filepath.Dir(host), builtinName)
	if _, err := os.Lstat(stand); err != nil {
		return host
	}
	return stand
}
