package filter

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/pkg/filters"
	"github.com/containerd/errdefs"

	"github.com/ctrdkit/containerd/internal/quote"
)

// taskFields are the fields of a [Task] that a filter can name.
var taskFields = []string{"id", "container.id", "pid", "status", "exit_status"}

// Task is what a task filter can ask about.
type Task struct {
	ContainerID, ID string
	PID             uint32
	Status          tasktypes.Status
	ExitStatus      uint32
}

// Field implements filters.Adaptor. Numbers are decimal, and a status is the
// upper-case name that containerd's API gives it, for example RUNNING; the
// comparison is exact. All fields are always present.
func (t Task) Field(path []string) (string, bool) {
	switch strings.Join(path, ".") {
	case "id":
		return t.ID, true
	case "container.id":
		return t.ContainerID, true
	case "pid":
		return strconv.FormatUint(uint64(t.PID), 10), true
	case "status":
		return t.Status.String(), true
	case "exit_status":
		return strconv.FormatUint(uint64(t.ExitStatus), 10), true
	}
	return "", false
}

// ParseTask parses a filter over the fields of [Task] in containerd's syntax.
// An empty one matches every task. It fails with an error that wraps
// errdefs.ErrInvalidArgument and starts with the quoted filter if the syntax is
// wrong, a regular expression does not compile, or there is no such field.
func ParseTask(s string) (filters.Filter, error) {
	parsed, err := filters.Parse(s)
	if err != nil {
		return nil, invalid(s, syntaxError(err))
	}
	if err := checkRegexps(s); err != nil {
		return nil, invalid(s, err.Error())
	}
	if field, ok := unknownField(parsed); ok {
		return nil, invalid(s, fmt.Sprintf("unknown field %s, want one of %s", quote.Value(field), strings.Join(taskFields, ", ")))
	}
	return parsed, nil
}

// unknownField returns the first field of a parsed filter that tasks do not have.
func unknownField(parsed filters.Filter) (string, bool) {
	selectors, ok := parsed.(filters.All)
	if !ok {
		return "", false // the empty filter
	}
	var unknown string
	found := false
	record := filters.AdapterFunc(func(path []string) (string, bool) {
		field := strings.Join(path, ".")
		if !found && !slices.Contains(taskFields, field) {
			unknown, found = field, true
		}
		return "", false
	})
	for _, selector := range selectors { // All itself stops at the first mismatch
		selector.Match(record)
	}
	return unknown, found
}

func invalid(s, reason string) error {
	return fmt.Errorf("%s: %s: %w", quote.Value(s), reason, errdefs.ErrInvalidArgument)
}

// syntaxError returns the parser's reason without its copy of the input.
func syntaxError(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, "]: "); i >= 0 {
		return text[i+len("]: "):]
	}
	return text
}
