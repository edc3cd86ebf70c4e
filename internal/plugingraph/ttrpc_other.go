//go:build !linux

package plugingraph

import "github.com/containerd/ttrpc"

func ttrpcOptions() []ttrpc.ServerOpt { return nil }
