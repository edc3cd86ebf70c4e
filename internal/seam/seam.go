// Package seam lets the fake set what is no part of a service's API.
package seam

import "github.com/ctrdkit/containerd/internal/clock"

// Settings replace what a service uses by itself. The zero value of a field
// changes nothing.
type Settings struct {
	// Clock is what the service measures time with.
	Clock clock.Clock
	// StdioDir is where the FIFOs of tasks go that name no directory.
	StdioDir string
	// LogDir is where the logs of tasks go that name no directory.
	LogDir string
	// Reach says why no registry on a host is asked.
	Reach func(host string) error
}

// Configure changes a service of the root package, which provides this
// function. It must be called before the service's first call.
var Configure func(service any, settings Settings)

// FIFODirs returns the directories of FIFOs that a service of the root package,
// which provides this function, has made and not removed.
var FIFODirs func(service any) []string
