package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
)

// logGrace is how long a dead child's log may be held open by others.
const logGrace = time.Second

// errEnded reports that the child has ended without a report.
var errEnded = fmt.Errorf("daemon ended: %w", errdefs.ErrUnavailable)

// child is the daemon's process as its parent sees it.
type child struct {
	*control
	log  *logTail
	proc *os.Process
	done chan struct{}
	// state is set when done is closed.
	state *os.ProcessState
}

// startChild executes this binary again, in the namespaces that the user needs,
// and sends it the configuration.
func startChild(l *layout, log io.Writer) (*child, error) {
	tail := &logTail{next: log}
	if !l.Rootless {
		return spawn(l, tail, spawnPlan{role: roleDaemon})
	}
	existing, err := openNamespaces(l.State)
	if err != nil {
		return nil, err
	}
	if existing != nil {
		c, err := spawn(l, tail, spawnPlan{role: roleJoin, join: existing})
		return c, errors.Join(err, existing.close())
	}
	if ids := findSubIDs(); ids != nil {
		c, err := spawn(l, tail, spawnPlan{role: roleMapped, subIDs: ids})
		if err == nil {
			return c, nil
		}
		tail.addLine("going on with one ID: " + err.Error())
	}
	c, err := spawn(l, tail, spawnPlan{role: roleDaemon, newNamespaces: true})
	if err != nil && isNoUserNamespace(err) {
		return nil, explainNoUserNamespace(err)
	}
	return c, err
}

// spawnPlan says how a child gets into its namespaces.
type spawnPlan struct {
	role          string
	newNamespaces bool         // make them, with one ID
	subIDs        *subIDs      // make them, with these IDs
	join          namespaceFDs // take these
}

func spawn(l *layout, log *logTail, plan spawnPlan) (*child, error) {
	ours, theirs, err := controlPair()
	if err != nil {
		return nil, err
	}
	c := &child{control: ours, log: log, done: make(chan struct{})}
	logReader, logWriter, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, theirs.Close(), ours.Close())
	}
	cmd := reexec(plan, logWriter, append([]*os.File{theirs}, l.locks...))
	started := make(chan error)
	go c.run(cmd, plan, logReader, started)
	err = errors.Join(<-started, theirs.Close(), logWriter.Close())
	if err == nil && plan.subIDs != nil {
		err = c.mapIDs(plan.subIDs)
	}
	if err != nil {
		return nil, errors.Join(err, c.kill())
	}
	if err := c.Encode(l.daemonConfig); err != nil && !isDisconnect(err) {
		return nil, errors.Join(err, c.kill())
	}
	return c, nil
}

func reexec(plan spawnPlan, log *os.File, files []*os.File) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"containerd-embedded"}
	cmd.Env = append(childEnv(), roleEnv+"="+plan.role)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = slices.Concat(files, plan.join)
	// A session of its own keeps the terminal's signals away.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}
	if plan.newNamespaces || plan.subIDs != nil {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS
	}
	if plan.newNamespaces {
		oneID(cmd.SysProcAttr)
	}
	return cmd
}

// run starts the process and waits for it, all on one thread: the kernel signals
// the death of the parent when the thread ends that made the child.
func (c *child) run(cmd *exec.Cmd, plan spawnPlan, log *os.File, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(c.done)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		if _, err := io.Copy(c.log, log); err != nil && !errors.Is(err, os.ErrClosed) {
			c.log.addLine(err.Error())
		}
	}()
	err := cmd.Start()
	if c.proc = cmd.Process; err == nil && plan.join != nil {
		err = c.takeJoined(cmd)
	}
	started <- err
	if err == nil {
		var werr error
		if c.state, werr = c.proc.Wait(); werr != nil {
			c.log.addLine(werr.Error())
		}
	}
	select {
	case <-drained:
	case <-time.After(logGrace):
	}
	if err := log.Close(); err != nil {
		c.log.addLine(err.Error())
	}
	<-drained
}

// takeJoined exchanges the joining child for the one that it left to us.
func (c *child) takeJoined(cmd *exec.Cmd) error {
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("joining the namespaces of running containers: %w", err)
	}
	var j joined
	if err := c.Decode(&j); err != nil {
		return err
	}
	proc, err := os.FindProcess(j.PID)
	if err != nil {
		return err
	}
	c.proc = proc
	return nil
}

// mapIDs maps the child's IDs and lets it go on.
func (c *child) mapIDs(ids *subIDs) error {
	if err := ids.apply(c.proc.Pid); err != nil {
		return err
	}
	_, err := c.Write([]byte("\n"))
	return err
}

// awaitReport waits for the child's next report, its death, or ctx.
func (c *child) awaitReport(ctx context.Context) error {
	answer := make(chan error, 1)
	go func() {
		var r report
		if err := c.Decode(&r); err != nil {
			answer <- err
			return
		}
		answer <- r.err()
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-answer:
		if !isDisconnect(err) {
			return err
		}
	}
	<-c.done
	return fmt.Errorf("%w (%v) %s", errEnded, c.state, c.log)
}

// kill ends the child, if there is one, at once.
func (c *child) kill() error {
	var err error
	if c.proc != nil {
		if err = c.proc.Kill(); errors.Is(err, os.ErrProcessDone) {
			err = nil
		}
	}
	<-c.done
	return errors.Join(err, c.Close())
}
