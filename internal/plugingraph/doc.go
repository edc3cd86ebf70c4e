// Package plugingraph starts a chosen set of containerd's own plugins in this
// process and serves their gRPC and TTRPC services, without a configuration
// file and without containerd's server package.
//
// The set is a slice of registrations: take shipped ones with [Registered],
// exchange some of them with [Replace], and hand it to [Start]. Nothing is
// registered anywhere, so any number of graphs can live in one process. The
// metrics plugins, whose collectors can exist only once per process, are not
// among [Services]; leave them out.
package plugingraph
