package containerd

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/containerd/errdefs"
)

var (
	// ErrExecutableNotFound is wrapped by the error of a task or an exec whose
	// program, or the interpreter that it names, is not in the container. It is a
	// not-found error.
	ErrExecutableNotFound error = &classedError{errors.New("executable not found"), errdefs.ErrNotFound}
	// ErrWorkDirNotFound is wrapped by the error of a task or an exec whose working
	// directory is not in the container, or is none. It is an invalid-argument error.
	ErrWorkDirNotFound error = &classedError{errors.New("working directory not found"), errdefs.ErrInvalidArgument}
	// ErrUserNotFound is wrapped by the error of a container or an exec whose user
	// or group is not in the container's /etc/passwd and /etc/group. It is a
	// failed-precondition error.
	ErrUserNotFound error = &classedError{errors.New("user not found"), errdefs.ErrFailedPrecondition}
	// ErrNotRunning is wrapped by the error of an exec in, or an attachment to, a
	// container whose task is not running, or that has none. It is a
	// failed-precondition error.
	ErrNotRunning error = &classedError{errors.New("container is not running"), errdefs.ErrFailedPrecondition}
)

// runtimeTexts gives classes to the errors of OCI runtimes, of which containerd
// passes on the text only. The first match counts: a working directory is
// looked at before the executable.
var runtimeTexts = []struct {
	pattern *regexp.Regexp
	class   error
}{
	// runc: chdir to cwd ("/x") set in config.json failed: no such file or directory
	{regexp.MustCompile(`chdir to cwd \(.*\) set in config\.json failed: permission denied`), errdefs.ErrPermissionDenied},
	{regexp.MustCompile(`chdir to cwd \(.*\) set in config\.json failed: `), ErrWorkDirNotFound},
	// runc: mkdir /x: not a directory, for a working directory below a file
	{regexp.MustCompile(`unable to start container process: .*mkdir .*: not a directory`), ErrWorkDirNotFound},
	// crun: chdir to `/x`: No such file or directory; older: chdir: No such file or directory
	{regexp.MustCompile("(?i)chdir(?: to)?(?: `[^`]*`)?: permission denied"), errdefs.ErrPermissionDenied},
	{regexp.MustCompile("(?i)chdir(?: to)?(?: `[^`]*`)?: (?:no such file or directory|not a directory)"), ErrWorkDirNotFound},

	// runc: exec: "x": executable file not found in $PATH
	{regexp.MustCompile(`exec: .*: executable file not found in \$PATH`), ErrExecutableNotFound},
	// runc: exec: "/x": stat /x: no such file or directory
	{regexp.MustCompile(`exec: .*: (?:stat .*: )?no such file or directory`), ErrExecutableNotFound},
	// runc, when the file's interpreter is missing: exec /x: no such file or directory
	{regexp.MustCompile(`exec /.*: no such file or directory`), ErrExecutableNotFound},
	// runc: exec: "/x": permission denied, is a directory; exec /x: exec format error
	{regexp.MustCompile(`exec:? .*: (?:permission denied|operation not permitted|is a directory|not a directory|exec format error)`), errdefs.ErrPermissionDenied},
	// runc: exec /x: argument list too long
	{regexp.MustCompile(`(?i)exec.*: argument list too long`), errdefs.ErrInvalidArgument},

	// crun: executable file `x` not found in $PATH: No such file or directory
	{regexp.MustCompile("executable file `.*` not found"), ErrExecutableNotFound},
	// crun: exec container process (missing dynamic library?) `/x`: No such file or directory
	{regexp.MustCompile("exec container process .*`.*`: No such file or directory"), ErrExecutableNotFound},
	// crun: open executable: Permission denied
	{regexp.MustCompile(`open executable: (?:Permission denied|Operation not permitted|Is a directory|Not a directory)`), errdefs.ErrPermissionDenied},
	// crun 1.21: the path `/x` exists but it is not executable: Operation not permitted
	{regexp.MustCompile("the path `.*` (?:exists but it is not executable|is not a regular file): "), errdefs.ErrPermissionDenied},
	// crun: exec container process `/x`: Exec format error
	{regexp.MustCompile("exec container process .*`.*`: (?:Exec format error|Permission denied)"), errdefs.ErrPermissionDenied},
}

// runtimeClass returns the class of what a runtime says about a program that
// it could not run, or nil if err says something else.
func runtimeClass(err error) error {
	text := err.Error()
	for _, known := range runtimeTexts {
		if known.pattern.MatchString(text) {
			return known.class
		}
	}
	return nil
}

// startError gives the error of a start the class that the runtime's text
// means. An error that has a class by itself keeps it.
func startError(err error) error {
	if err = native(err); !errdefs.IsInternal(err) {
		return err
	}
	if class := runtimeClass(err); class != nil {
		return fmt.Errorf("%s: %w", trimClass(err), class)
	}
	return err
}

// trimClass returns the text of err without the name of a class at its end.
func trimClass(err error) string {
	return classSuffix.ReplaceAllString(err.Error(), "")
}

var classSuffix = regexp.MustCompile(`(?:: (?:unknown|internal))+$`)
