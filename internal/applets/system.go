package applets

import (
	"context"
	"io"
	"io/fs"
	"syscall"
	"time"
)

// System is the process that an applet runs in, and the machine around it. Its
// methods are safe for concurrent use by multiple goroutines, and so are its
// standard streams: a shell shares them with its children and background jobs.
type System interface {
	Stdio
	Identity
	Control
	FileReader
	FileWriter
}

// Stdio is the process's standard streams.
type Stdio interface {
	// Stdin returns the input; nil means that it is empty. It always returns the
	// same reader, by which Start can tell that a child shares it.
	Stdin() io.Reader
	// Stdout returns the output, which is never nil.
	Stdout() io.Writer
	// Stderr returns the output for errors, which is never nil.
	Stderr() io.Writer
	// IsTerminal says whether the input is a terminal.
	IsTerminal() bool
}

// Identity is what the process knows of itself and its machine.
type Identity interface {
	// Environ returns the environment, as NAME=VALUE.
	Environ() []string
	// Getwd returns the working directory's absolute path.
	Getwd() (string, error)
	// Getpid returns the process's ID.
	Getpid() int
	// Getuid returns the user's ID.
	Getuid() int
	// Getgid returns the group's ID.
	Getgid() int
	// Getgroups returns the IDs of all groups of the process.
	Getgroups() ([]int, error)
	// Hostname returns the machine's name.
	Hostname() (string, error)
}

// Control is time, signals and children.
type Control interface {
	// Plays says whether Start would start cmd though there is no file at its
	// path, which it never does on a machine.
	Plays(cmd *Command) bool
	// Sleep returns nil after d, or earlier with ctx's error.
	Sleep(ctx context.Context, d time.Duration) error
	// Trap takes from the signals their effect on the process, whatever it was:
	// from now on they are delivered by NextSignal.
	Trap(signals ...syscall.Signal)
	// NextSignal waits for a signal given to Trap, or until ctx ends.
	NextSignal(ctx context.Context) (syscall.Signal, error)
	// Kill sends a signal to a process; 0 only asks whether it is there.
	Kill(pid int, sig syscall.Signal) error
	// Start starts a child, which depends on nothing but itself: it outlives the
	// process, and whoever waits for it. An error that wraps fs.ErrNotExist means
	// that there is no program, one that wraps syscall.ENOEXEC that the file is
	// text, which a shell then runs as a script.
	//
	// wait returns the exit code, which for a child killed by signal n is 128+n;
	// or ctx's error as soon as ctx ends. It is called at most once.
	Start(*Command) (wait func(ctx context.Context) (code int, err error), err error)
}

// Command describes a child to [Control.Start].
type Command struct {
	Path   string    // absolute; "" means the applet Args[0]
	Args   []string  // with the program's name first
	Env    []string  // all of it; nil means the process's own
	Dir    string    // the working directory; "" means the process's own
	Stdin  io.Reader // nil means that the input is empty
	Stdout io.Writer // never nil
	Stderr io.Writer // never nil
}

// FileReader gives access to the machine's files. Here and in [FileWriter] a
// name is absolute or relative to the working directory, and the methods do
// what their namesakes in package os do, also as to errors.
type FileReader interface {
	// OpenFile opens a file, or creates it, as package os does.
	OpenFile(name string, flag int, perm fs.FileMode) (io.ReadWriteCloser, error)
	// Stat describes a file. The shell's test -O and -G want a *syscall.Stat_t
	// from the result's Sys.
	Stat(name string) (fs.FileInfo, error)
	// Lstat describes a file, and does not follow a link.
	Lstat(name string) (fs.FileInfo, error)
	// ReadDir lists a directory, sorted. For another file the error wraps
	// syscall.ENOTDIR.
	ReadDir(name string) ([]fs.DirEntry, error)
	// Readlink returns a link's target.
	Readlink(name string) (string, error)
	// Access returns nil if the process may use the file for all that mode asks:
	// 4 is reading, 2 writing, 1 executing or searching.
	Access(name string, mode uint32) error
}

// FileWriter changes the machine's files.
type FileWriter interface {
	// Mkdir makes a directory.
	Mkdir(name string, perm fs.FileMode) error
	// MkdirAll makes a directory and those above it; it may be there already.
	MkdirAll(name string, perm fs.FileMode) error
	// Remove removes a file or an empty directory.
	Remove(name string) error
	// RemoveAll removes a file or tree, which may be absent.
	RemoveAll(name string) error
	// Symlink makes name a symbolic link to target.
	Symlink(target, name string) error
	// Link makes name a further name of the file target.
	Link(target, name string) error
	// Chmod changes a file's permissions.
	Chmod(name string, mode fs.FileMode) error
}
