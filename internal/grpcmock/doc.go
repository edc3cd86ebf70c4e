// Package grpcmock serves mocks of containerd's gRPC services in memory, to a
// real client over a real connection, so that everything but the daemon's
// answers is what a program gets. It is for the branches that neither a fake
// nor a daemon can be made to show.
//
// Services without a mock answer not-implemented, as daemons that lack them do.
package grpcmock

//go:generate go tool -modfile=../../tools/go.mod mockery --config ../../.mockery.yml
