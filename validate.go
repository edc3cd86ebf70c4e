package containerd

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/containerd/containerd/v2/pkg/identifiers"
	"github.com/containerd/containerd/v2/pkg/labels"

	"github.com/ctrdkit/containerd/internal/quote"
)

const (
	// maxArgument is the kernel's limit for one argument or environment
	// string (MAX_ARG_STRLEN), its terminating NUL included.
	maxArgument = 128 << 10
	// maxKey is the longest key that containerd's database stores.
	maxKey = 32 << 10
)

// quoted formats a caller's value for an error message: quoted, and cut if long.
func quoted(value string) string { return quote.Value(value) }

func invalid(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, ErrInvalidArgument)...)
}

// checkText accepts what can be sent to the daemon as the required string field.
func checkText(field, value string) error {
	if value == "" {
		return invalid("%s is empty", field)
	}
	return checkOptional(field, value)
}

func checkOptional(field, value string) error {
	switch {
	case !utf8.ValidString(value):
		return invalid("%s %s is not valid UTF-8", field, quoted(value))
	case strings.ContainsRune(value, 0):
		return invalid("%s %s contains a NUL byte", field, quoted(value))
	case len(value) > maxKey:
		return invalid("%s %s is longer than %d bytes", field, quoted(value), maxKey)
	}
	return nil
}

// checkID accepts the container IDs that containerd accepts.
func checkID(field, id string) error {
	if err := checkText(field, id); err != nil {
		return err
	}
	if err := identifiers.Validate(id); err != nil {
		return invalid("%s %s: want at most 76 letters, digits, and single '.', '_' or '-' between them", field, quoted(id))
	}
	return nil
}

// ownLabels is the prefix of the labels by which this package finds what it has
// made. Whoever could set them could name the things of others.
const ownLabels = "ctrdkit.io/"

// checkLabels accepts the labels that containerd stores as they are, and that
// are the caller's to set.
func checkLabels(field string, values map[string]string, reserved bool) error {
	for key, value := range values {
		switch {
		case key == "":
			return invalid("%s has an empty key", field)
		case value == "":
			return invalid("%s[%s] has an empty value, which containerd does not store", field, quoted(key))
		case !utf8.ValidString(key) || !utf8.ValidString(value):
			return invalid("%s[%s]=%s is not valid UTF-8", field, quoted(key), quoted(value))
		case labels.Validate(key, value) != nil:
			return invalid("%s[%s] has %d bytes of key and value, more than 4096", field, quoted(key), len(key)+len(value))
		case !reserved && labels.IsReserved(key):
			return invalid("%s[%s] is reserved for containerd", field, quoted(key))
		case strings.HasPrefix(key, ownLabels):
			return invalid("%s[%s] is reserved for this library, also in copies of a container's labels", field, quoted(key))
		}
	}
	return nil
}

// checkStrings accepts argument or environment lists that the kernel accepts
// one by one.
func checkStrings(field string, values []string) error {
	for i, value := range values {
		switch {
		case strings.ContainsRune(value, 0):
			return invalid("%s[%d] %s contains a NUL byte", field, i, quoted(value))
		case len(value) >= maxArgument:
			return invalid("%s[%d] %s has %d bytes, the limit is %d", field, i, quoted(value), len(value), maxArgument-1)
		case !utf8.ValidString(value):
			return invalid("%s[%d] %s is not valid UTF-8", field, i, quoted(value))
		}
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
