//go:build race

package embedded

import "os"

// childEnv keeps children that are built with the race detector, as this
// program is, from sleeping for a second before they exit: a container has
// three of them.
func childEnv() []string {
	return append(os.Environ(), "GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
}
