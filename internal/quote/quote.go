// Package quote shows callers' values in error messages.
package quote

import (
	"fmt"
	"strconv"
)

// most is how much of a value is shown.
const most = 128

// Value returns value in Go's quotes, cut if it is long; its length is said then.
func Value(value string) string {
	if len(value) <= most {
		return strconv.Quote(value)
	}
	return fmt.Sprintf("%s... (%d bytes)", strconv.Quote(value[:most]), len(value))
}
