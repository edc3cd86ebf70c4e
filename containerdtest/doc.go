// Package containerdtest lets programs that use package containerd test
// themselves: without root, without a daemon, in milliseconds.
//
//	fake := containerdtest.New(t)
//	fake.AddImage("app", containerdtest.Image{Cmd: []string{"sleep", "60"}})
//	startWorkers(ctx, fake) // takes a containerd.Service
//
// [New] starts containerd's own code in the test's process: metadata, content,
// images, containers, leases, garbage collection, events, filters, diff and
// transfer are the shipped ones, behind gRPC and containerd's own client. Only
// what needs a kernel is simulated: processes are goroutines, snapshots are
// plain directories, and layers are unpacked into these. The conformance suite
// that real daemons pass (package conformance) passes on it too.
//
// # Processes
//
// The usual commands are built in: cat, chmod, echo, env, false, head, hold,
// hostname, id, kill, ln, ls, mkdir, pause, pwd, readlink, rm, sh, sha256sum,
// sigtrap, sleep, touch, true, tty, wc and zeros. An image of [Fake.AddImage]
// has them in /bin, though ls does not show them there. [Fake.Handle] scripts
// any other program, or any of these in another way.
//
// A process gets what its spec says: arguments, environment, working directory,
// user, terminal, streams, signals, and the files of its snapshot and of bind
// mounts. What bites on a real machine bites here: a stopped task that was not
// deleted blocks the next start, a kill takes a moment, the first process of a
// container ignores signals that it does not handle, output that nobody reads
// blocks after 64 KiB, garbage collection takes what nothing refers to.
//
// # Faults and time
//
// [Fake.Inject] fails, delays or cuts requests, [Fake.RestartDaemon] and
// [Fake.Crash] break connections, [WithVirtualTime] and [Fake.Advance] let time
// pass at once.
//
// # What the fake does not do
//
//   - Run a real program, load a kernel module, or use any network.
//   - Isolate: there are no namespaces, cgroups, capabilities or seccomp filters.
//     The spec is stored and read, and what the kernel would do with these parts
//     of it does not happen. /proc and /sys are empty.
//   - Protect files: all belong to the user of the test, whatever owner the image
//     gives them, every user of a container can read and write them, and device
//     files are left out. /dev has null, random, urandom, zero, stdin, stdout and
//     stderr, which ls does not show.
//   - Mount: other mounts of the spec than bind mounts are empty directories.
//   - Measure: metrics have the number of processes and nothing else. Updates of
//     resources are accepted, and limit nothing. Nothing is killed for memory.
//   - Share one shim between containers, hang a single shim, run shim plugins or
//     other runtimes: every runtime name is the same simulated one.
//   - Other logging programs ("binary://" addresses) than this module's own,
//     checkpoints, sandboxes, CRI.
//   - Job control: a terminal is a real one, and ^C in it signals nobody.
//   - In the shell: real background processes ($! is no PID), $PPID, traps other
//     than EXIT, and exec that replaces the shell.
//
// No case of the conformance suite is left out on the fake.
package containerdtest
