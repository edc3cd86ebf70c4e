// Package containerd runs containers on containerd: it pulls images, creates
// containers with safe defaults, starts, stops and inspects their processes,
// and versions their file systems, all within one containerd namespace.
//
//	svc, err := containerd.Open(ctx)
//	if err != nil {
//		return err
//	}
//	defer svc.Close()
//
//	_, err = svc.CreateContainer(ctx, containerd.CreateContainerRequest{ID: "web", ImageRef: "nginx"})
//	if err != nil {
//		return err
//	}
//	_, err = svc.StartTask(ctx, "web", nil)
//
// [Service] is the stable surface, [Engine] everything there is. Accept
// [Service], or one of its roles, where you use this package, and it can be
// replaced in tests.
//
// # Guarantees
//
// Concurrency: a [DefaultService] is safe for concurrent use. Steps that
// create or delete a container or task on one ID take turns within a process
// and stay correct against other processes.
//
// Namespaces: every call, and every handle that a call returns, acts in the
// service's namespace, whatever namespace the caller's context carries.
// Handles work with context.Background. Their errors are containerd's own.
// containerd's WithRemappedSnapshot and restore options want containerd's own
// image type: use [DefaultService.Client] for those.
//
// Errors: every error is an [*Error] that keeps its errdefs class. Bad input is
// refused before anything is touched.
//
// Cancellation: a call returns within a second of its context's end and
// takes back what it made. What can't be taken back by then (the daemon is
// gone, say) is named in the error and finished by a background worker that
// runs for at most 30 seconds and that Close waits for. Retrying with the same
// arguments is safe at once.
//
// Closing: [DefaultService.Close] ends what the service holds. It closes the
// connection only if [Open] made it.
package containerd
