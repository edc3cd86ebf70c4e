package containerd

import (
	"fmt"
	"regexp"

	"github.com/containerd/errdefs"
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
	{regexp.MustCompile(`chdir to cwd \(.*\) set in config\.json failed: `), errdefs.ErrInvalidArgument},
	// runc: mkdir /x: not a directory, for a working directory below a file
	{regexp.MustCompile(`unable to start container process: .*mkdir .*: not a directory`), errdefs.ErrInvalidArgument},
	// crun: chdir to `/x`: No such file or directory; older: chdir: No such file or directory
	{regexp.MustCompile("(?i)chdir(?: to)?(?: `[^`]*`)?: permission denied"), errdefs.ErrPermissionDenied},
	{regexp.MustCompile("(?i)chdir(?: to)?(?: `[^`]*`)?: (?:no such file or directory|not a directory)"), errdefs.ErrInvalidArgument},

	// runc: exec: "x": executable file not found in $PATH
	{regexp.MustCompile(`exec: .*: executable file not found in \$PATH`), errdefs.ErrNotFound},
	// runc: exec: "/x": stat /x: no such file or directory
	{regexp.MustCompile(`exec: .*: (?:stat .*: )?no such file or directory`), errdefs.ErrNotFound},
	// runc, when the file's interpreter is missing: exec /x: no such file or directory
	{regexp.MustCompile(`exec /.*: no such file or directory`), errdefs.ErrNotFound},
	// runc: exec: "/x": permission denied, is a directory; exec /x: exec format error
	{regexp.MustCompile(`exec:? .*: (?:permission denied|operation not permitted|is a directory|not a directory|exec format error)`), errdefs.ErrPermissionDenied},
	// runc: exec /x: argument list too long
	{regexp.MustCompile(`(?i)exec.*: argument list too long`), errdefs.ErrInvalidArgument},

	// crun: executable file `x` not found in $PATH: No such file or directory
	{regexp.MustCompile("executable file `.*` not found"), errdefs.ErrNotFound},
	// crun: exec container process (missing dynamic library?) `/x`: No such file or directory
	{regexp.MustCompile("exec container process .*`.*`: No such file or directory"), errdefs.ErrNotFound},
	// crun: open executable: Permission denied
	{regexp.MustCompile(`open executable: (?:Permission denied|Operation not permitted|Is a directory|Not a directory)`), errdefs.ErrPermissionDenied},
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
