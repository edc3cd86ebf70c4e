package containerd

import (
	"context"
	"errors"
	"io"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs"
)

// feed copies the input, and passes its end on once the process has been
// started: the shim holds the FIFO open too, so closing it is not enough.
func (st *streams) feed() {
	defer func() { st.feedErr = st.input.release() }()
	st.inputErr = st.copyInput()
	if st.ctx.Err() != nil {
		return
	}
	select {
	case <-st.started:
	case <-st.ctx.Done():
		return
	}
	if st.inputEnded.Swap(true) {
		return
	}
	if st.config.Terminal {
		// Closing the shim's end would hang the terminal up.
		if _, err := io.WriteString(st.pipes.Stdin, endOfTransmission); err != nil {
			return // the process has ended
		}
		return
	}
	if err := st.pipes.Stdin.Close(); err != nil {
		return
	}
	st.closeInput()
}

// copyInput copies until the input ends or the process takes no more, and
// returns the reader's error.
func (st *streams) copyInput() error {
	buffer := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buffer)
	for {
		n, err := st.input.Read(buffer[:])
		if n > 0 {
			if _, err := st.pipes.Stdin.Write(buffer[:n]); err != nil {
				return nil // there is no reader any more
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, errStopped):
			return nil
		case err != nil:
			return err
		}
	}
}

// closeInput makes the shim close its end of stdin. Any error but a lost
// connection means that there is no process to read it any more.
func (st *streams) closeInput() {
	for {
		err := st.service.closeIO(st.ctx, st.containerID, st.execID)
		if err == nil || !errdefs.IsUnavailable(err) {
			return
		}
		if st.service.pause(st.ctx, waitPause) != nil {
			return
		}
	}
}

func (s *DefaultService) closeIO(ctx context.Context, containerID, execID string) error {
	_, err := s.client.TaskService().CloseIO(ctx, &tasks.CloseIORequest{ContainerID: containerID, ExecID: execID, Stdin: true})
	return native(err)
}

// endInput ends the input now, whatever its reader does.
func (st *streams) endInput(ctx context.Context) error {
	if st.input == nil || st.inputEnded.Swap(true) {
		return nil
	}
	if err := st.input.stop(); err != nil {
		return err
	}
	if st.config.Terminal {
		_, err := io.WriteString(st.pipes.Stdin, endOfTransmission)
		return err
	}
	if err := ignoreClosed(st.pipes.Stdin.Close()); err != nil {
		return err
	}
	return st.service.closeIO(ctx, st.containerID, st.execID)
}
