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
// The usual commands are built in. An image of [Fake.AddImage] has them in /bin,
// though ls does not show them there. They know these flags, and refuse others
// with exit code 2:
//
//	cat [FILE...]
//	chmod OCTAL FILE...
//	echo [-neE] [WORD...]
//	env [-i] [-u NAME] [NAME=VALUE...] [COMMAND [ARG...]]
//	false
//	head [-n N | -N | -c N] [FILE...]
//	hold SECONDS                              a child keeps stdout open for so long
//	hostname
//	id [-u | -g | -G] [-n]                    numbers only, without flags
//	kill [-s SIGNAL | -SIGNAL] PID...
//	ln [-s] [-f] TARGET NAME
//	ls [-a | -A] [-1] [FILE...]               names, one a line
//	mkdir [-p] DIR...
//	pause                                     until SIGTERM or SIGINT, which it handles
//	printenv [NAME...]
//	pwd
//	readlink FILE...
//	rm [-f] [-r | -R] FILE...
//	sh [-efluxn] [-o OPTION] [-c LINE [NAME] | FILE] [ARG...]
//	sha256sum [FILE...]
//	sigtrap SIGNAL CODE|ignore                prints the signal, then exits or goes on
//	sleep NUMBER[s|m|h|d]...                  NUMBER may be "infinity"
//	tail [-n [+]N | -N | -c [+]N] [-f] [FILE...]  -f waits, and sees no file grow
//	touch FILE...                             makes files, changes no times
//	true
//	tty
//	wc [-l] [-w] [-c] [FILE...]
//	zeros N                                   writes so many zero bytes
//
// [Fake.Handle] scripts any other program, or any of these in another way.
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
//   - Run a real program, load a kernel module, or use any network. Pulls
//     ask registries on loopback addresses only.
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
//   - Job control: a terminal is a real one, and ^C in it signals nobody. SIGSTOP
//     does not stop a process.
//   - Run OCI hooks, or refuse what only a kernel or runc would: a network
//     namespace whose path is missing, an unknown capability and a bad rlimit are
//     accepted.
//   - Mount overlays: SnapshotMounts gives a bind mount where a daemon's
//     "overlayfs" gives an overlay.
//   - Reach all processes: SignalTask with All gives a not-implemented error if
//     there are children of a shell, which only SIGKILL reaches: no process of the
//     fake is one of this machine.
//   - Replace a process: exec in a shell, and env, start a child and wait for it.
//     So a shell that is a container's first process, as in an entrypoint that
//     ends in exec "$@", passes no SIGTERM on, and StopTask runs into its timeout;
//     on a real daemon the program would get the signal. Make the program the
//     first process, or let a handler play the entrypoint.
//   - In the shell: real background processes ($! is no PID), $PPID, traps other
//     than EXIT, profiles (-l reads none).
//
// No case of the conformance suite is left out on the fake.
package containerdtest
