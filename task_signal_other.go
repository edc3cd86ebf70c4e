//go:build !linux

package containerd

import "syscall"

func signalProcess(uint32, string, syscall.Signal) error { return errElsewhere }
