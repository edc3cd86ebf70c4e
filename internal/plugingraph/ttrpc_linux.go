package plugingraph

import "github.com/containerd/ttrpc"

func ttrpcOptions() []ttrpc.ServerOpt {
	return []ttrpc.ServerOpt{ttrpc.WithServerHandshaker(ttrpc.UnixSocketRequireSameUser())}
}
