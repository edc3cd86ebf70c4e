package containerd

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTailBufferKeepsTheBeginningAndTheEnd(t *testing.T) {
	// Bytes that tell where they come from.
	text := make([]byte, 5*tailSize)
	for i := range text {
		text[i] = byte('a' + i/7%26)
	}
	for _, size := range []int{0, 1, tailSize - 1, tailSize, tailSize + 1, 2*tailSize - 1, 2 * tailSize, 2*tailSize + 1, 3*tailSize + 5, 5 * tailSize} {
		for _, chunk := range []int{1000, 4096, tailSize - 1, tailSize, tailSize + 1, 2 * tailSize, 5 * tailSize} {
			b := &tailBuffer{}
			for rest := text[:size]; len(rest) > 0; {
				n := min(chunk, len(rest))
				written, err := b.Write(rest[:n])
				require.NoError(t, err)
				require.Equal(t, n, written)
				rest = rest[n:]
			}
			want := string(text[:size])
			if over := size - 2*tailSize; over > 0 {
				want = fmt.Sprintf("%s\n... omitting %d bytes ...\n%s", text[:tailSize], over, text[size-tailSize:size])
			}
			require.Equal(t, want, string(b.Bytes()), "%d bytes in chunks of %d", size, chunk)
		}
	}
}

func TestOutputOfOneWriterIsWrittenByOneAtATime(t *testing.T) {
	var buffer bytes.Buffer
	assert.True(t, sameWriter(&buffer, &buffer))
	assert.False(t, sameWriter(&buffer, io.Discard))
	assert.False(t, sameWriter(uncomparable{}, uncomparable{}), "what can't be compared is not the same")
	assert.False(t, sameWriter(nil, &buffer))
}

type uncomparable struct{ _ []int }

func (uncomparable) Write(p []byte) (int, error) { return len(p), nil }

func TestShortWriteIsAnError(t *testing.T) {
	flow := &outflow{writer: shortWriter{}, now: time.Now}
	flow.run(strings.NewReader("text"))
	assert.ErrorIs(t, flow.err, io.ErrShortWrite)
}

type shortWriter struct{}

func (shortWriter) Write(p []byte) (int, error) { return len(p) - 1, nil }

func TestAnInputPipeThatIsStoppedHasEnded(t *testing.T) {
	r, w := io.Pipe()
	p := &inputPipe{r}
	require.NoError(t, p.stopReading())
	_, err := p.Read(make([]byte, 1))
	require.ErrorIs(t, err, errStopped, "which copying takes for the end")
	_, err = w.Write([]byte("x"))
	require.ErrorIs(t, err, io.ErrClosedPipe)
}
