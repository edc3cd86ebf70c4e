//go:build !linux

package logfile

import "io"

// watchDir has no way to watch here.
func watchDir(string) (io.ReadCloser, error) { return nil, nil }
