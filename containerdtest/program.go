package containerdtest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/moby/sys/user"
)

const (
	// builtinName is the file in /bin that stands for all built-in commands.
	builtinName = "builtin"
	// builtinFile is what it contains.
	builtinFile = "all commands of package containerdtest\n"
)

// useHandle is what errors of absent programs say to the author of the test.
const useHandle = "script it with Fake.Handle"

// maxInterpreters is how many scripts may run each other.
const maxInterpreters = 4

// load finds out what the process is to do. Its errors have the texts of runc,
// whose only way to tell they are.
func (p *process) load() error {
	p.setHome()
	if err := p.checkDir(); err != nil {
		return err
	}
	if p.run = p.task.machine.handler(newProc(p)); p.run != nil {
		return nil
	}
	name, err := p.find(p.spec.Args[0])
	if err != nil {
		return err
	}
	p.run, err = p.program(name, p.spec.Args, 0)
	return err
}

// setHome does what runc does where the environment names no home directory.
func (p *process) setHome() {
	if getenv(p.spec.Env, "HOME") != "" {
		return
	}
	home := "/"
	if host, err := p.task.hostPath("/", "/etc/passwd"); err == nil {
		u, err := user.ParsePasswdFileFilter(host, func(u user.User) bool { return u.Uid == int(p.spec.User.UID) })
		if err == nil && len(u) > 0 {
			home = u[0].Home
		}
	}
	p.spec.Env = append(slices.Clone(p.spec.Env), "HOME="+home)
}

func (p *process) checkDir() error {
	host, err := p.task.hostPath("/", p.spec.Cwd)
	if err != nil {
		return err
	}
	info, err := os.Stat(host)
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Err: syscall.ENOTDIR}
	}
	if err != nil {
		return fmt.Errorf("chdir to cwd (%q) set in config.json failed: %w", p.spec.Cwd, errors.Unwrap(err))
	}
	return nil
}

// find looks a program up as execvp does, in the PATH of its own environment.
func (p *process) find(name string) (string, error) {
	if strings.Contains(name, "/") {
		if err := p.task.executable(p.spec.Cwd, name); errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("exec: %q: stat %s: no such file or directory (%s)", name, name, useHandle)
		} else if err != nil {
			return "", fmt.Errorf("exec: %q: %w", name, err)
		}
		return name, nil
	}
	for _, dir := range strings.Split(getenv(p.spec.Env, "PATH"), ":") {
		if file := path.Join("/", p.relative(dir), name); p.task.executable("/", file) == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("exec: %q: executable file not found in $PATH (%s)", name, useHandle)
}

// relative returns dir, which counts from the working directory if it is relative.
func (p *process) relative(dir string) string {
	if path.IsAbs(dir) {
		return dir
	}
	return path.Join(p.spec.Cwd, dir)
}

func getenv(env []string, name string) string {
	for _, entry := range slices.Backward(env) {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

// executable says why a file can't be executed, in runc's words.
func (t *task) executable(dir, name string) error {
	host, err := t.hostPath(dir, name)
	if err != nil {
		return err
	}
	info, err := os.Stat(host)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fs.ErrNotExist
	case err != nil:
		return errors.Unwrap(err)
	case info.IsDir():
		return errors.New("is a directory")
	case info.Mode()&0o111 == 0 || !info.Mode().IsRegular():
		return errors.New("permission denied")
	}
	return nil
}

// program returns what the file of a program does when it is called with args.
func (p *process) program(file string, args []string, depth int) (Handler, error) {
	host, err := p.task.hostPath(p.spec.Cwd, file)
	if err != nil {
		return nil, err
	}
	head, err := firstLine(host)
	if err != nil {
		return nil, err
	}
	if script, ok := bytes.CutPrefix(head, []byte("#!")); ok && depth < maxInterpreters {
		interpreter := strings.Fields(string(script))
		if len(interpreter) == 0 {
			return nil, fmt.Errorf("exec %s: %w", file, syscall.ENOENT)
		}
		args = slices.Concat(interpreter, []string{file}, args[1:])
		if run := p.played(args); run != nil {
			return run, nil
		}
		if p.task.executable(p.spec.Cwd, interpreter[0]) != nil {
			return nil, fmt.Errorf("exec %s: %w: %s (%s)", file, syscall.ENOENT, interpreter[0], useHandle)
		}
		return p.program(interpreter[0], args, depth+1)
	}
	known := bytes.HasPrefix(head, []byte("\x7fELF")) || string(head)+"\n" == builtinFile
	if !known {
		return nil, fmt.Errorf("exec %s: %w", file, syscall.ENOEXEC)
	}
	if !slices.Contains(builtins, path.Base(args[0])) {
		return nil, fmt.Errorf("exec %s: the fake does not know this program, %s", file, useHandle)
	}
	if path.Base(args[0]) == "pause" {
		// As if it had been running for a moment: who stops a task right after its
		// start does not expect the signal to be too early.
		p.trap([]syscall.Signal{syscall.SIGTERM, syscall.SIGINT})
	}
	return builtin(args), nil
}

// played returns the handler of a script's interpreter, or nil.
func (p *process) played(args []string) Handler {
	wanted := newProc(p)
	wanted.Args = slices.Clone(args)
	run := p.task.machine.handler(wanted)
	if run == nil {
		return nil
	}
	return func(ctx context.Context, proc *Proc) int {
		proc.Args = slices.Clone(args)
		return run(ctx, proc)
	}
}

func firstLine(name string) (line []byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	line, err = bufio.NewReader(io.LimitReader(f, 256)).ReadBytes('\n')
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return bytes.TrimSuffix(line, []byte("\n")), err
}
