package containerd

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLockGivesTheTurnToOneAtATime(t *testing.T) {
	locks := keyedLocks{held: make(map[lockKey]*keyedLock)}
	key := lockKey{id: "a"}
	var inside, most int
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			unlock, err := locks.lock(t.Context(), key)
			if !assert.NoError(t, err) {
				return
			}
			defer unlock()
			inside++
			most = max(most, inside)
			inside--
		})
	}
	wg.Wait()
	assert.Equal(t, 1, most)
	assert.Empty(t, locks.held, "an unused lock is forgotten")
}

func TestWaitingForALockEndsWithTheContext(t *testing.T) {
	locks := keyedLocks{held: make(map[lockKey]*keyedLock)}
	key := lockKey{id: "a"}
	unlock, err := locks.lock(t.Context(), key)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = locks.lock(ctx, key)
	require.ErrorIs(t, err, context.Canceled)
	_, err = locks.lock(ctx, lockKey{id: "b"})
	assert.True(t, err == nil || errors.Is(err, context.Canceled))
	unlock()
	unlock, err = locks.lock(t.Context(), key)
	require.NoError(t, err)
	unlock()
}

func TestUndoRunsTheLastStepFirstAndKeepsWhatFailed(t *testing.T) {
	var ran []string
	step := func(name string, err error) func(context.Context) error {
		return func(context.Context) error { ran = append(ran, name); return err }
	}
	u := &undo{}
	u.push("first", step("first", nil))
	u.push("second", step("second", errdefs.ErrUnavailable))
	u.push("third", step("third", errdefs.ErrNotFound))

	err := u.run(t.Context())
	require.ErrorIs(t, err, errdefs.ErrUnavailable)
	assert.Equal(t, []string{"third", "second", "first"}, ran)
	assert.Equal(t, "second", u.describe(), "what is not found needs no undoing")

	ran = nil
	require.Error(t, u.run(t.Context()))
	assert.Equal(t, []string{"second"}, ran, "what is done is not done again")
}

func TestDetachedContextOutlivesItsParentByAtMostASecond(t *testing.T) {
	type key struct{}
	parent, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
	ctx, release := detach(parent)
	defer release()
	assert.Equal(t, "value", ctx.Value(key{}))
	cancel()
	require.NoError(t, ctx.Err(), "it does not end with its parent")
	start := time.Now()
	<-ctx.Done()
	assert.Less(t, time.Since(start), undoGrace+time.Second)
}

func TestOwnerRoundTrip(t *testing.T) {
	o := newOwner()
	parsed, err := parseOwner(o.String())
	require.NoError(t, err)
	assert.Equal(t, o, parsed)
	_, err = parseOwner("a/b")
	assert.Error(t, err)
}

func TestOwnerIsDeadOnlyWhenThatIsProven(t *testing.T) {
	alive := newOwner()
	assert.False(t, alive.dead(), "this process")

	child := exec.CommandContext(t.Context(), "true")
	require.NoError(t, child.Start())
	gone := alive
	gone.pid = strconv.Itoa(child.Process.Pid)
	gone.start = startTime(gone.pid)
	require.NotEmpty(t, gone.start)
	require.NoError(t, child.Wait())
	assert.True(t, gone.dead(), "its process has ended")

	younger := alive
	younger.start = "1"
	assert.True(t, younger.dead(), "its PID belongs to another process")

	rebooted := alive
	rebooted.boot = "another"
	assert.True(t, rebooted.dead(), "the machine was booted since")

	elsewhere := gone
	elsewhere.pidns = "1"
	assert.False(t, elsewhere.dead(), "another PID namespace can't be seen")

	unknown := gone
	unknown.start = ""
	assert.False(t, unknown.dead(), "nothing is known of it")
}

func TestStartTimeOfAProcessWithAParenthesisInItsName(t *testing.T) {
	assert.Equal(t, startTime(strconv.Itoa(os.Getpid())), process().start)
	assert.Empty(t, startTime("../1"))
	assert.Empty(t, startTime("4194305"))
}

func TestImageCacheForgetsTheLeastRecentlyUsed(t *testing.T) {
	var c imageCache
	key := func(i int) digest.Digest { return digest.FromString(strconv.Itoa(i)) }
	for i := range cachedImages {
		c.put(key(i), &imageInfo{})
	}
	require.NotNil(t, c.get(key(0)))
	c.put(key(cachedImages), &imageInfo{})
	assert.NotNil(t, c.get(key(0)), "used last")
	assert.Nil(t, c.get(key(1)), "used longest ago")
	assert.Equal(t, cachedImages, c.order.Len())
}

func TestValidation(t *testing.T) {
	long := strings.Repeat("x", maxArgument)
	for name, err := range map[string]error{
		"empty":             checkText("field", ""),
		"NUL":               checkText("field", "a\x00b"),
		"not UTF-8":         checkText("field", "\xff"),
		"key too long":      checkText("field", strings.Repeat("x", maxKey+1)),
		"id with a slash":   checkID("field", "a/b"),
		"id with dots":      checkID("field", ".."),
		"id too long":       checkID("field", strings.Repeat("x", 77)),
		"reserved label":    checkLabels("field", map[string]string{"containerd.io/x": "y"}, false),
		"our own label":     checkLabels("field", map[string]string{labelLogDir: "/victim"}, false),
		"our own, always":   checkLabels("field", map[string]string{labelLogDir: "/victim"}, true),
		"CRI label":         checkLabels("field", map[string]string{"io.cri-containerd.x": "y"}, false),
		"empty label value": checkLabels("field", map[string]string{"k": ""}, false),
		"empty label key":   checkLabels("field", map[string]string{"": "v"}, false),
		"label too long":    checkLabels("field", map[string]string{"k": strings.Repeat("x", 4096)}, false),
		"label not UTF-8":   checkLabels("field", map[string]string{"k": "\xff"}, false),
		"long argument":     checkStrings("field", []string{"a", long}),
		"NUL argument":      checkStrings("field", []string{"\x00"}),
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, err, ErrInvalidArgument)
			assert.Contains(t, err.Error(), "field")
			assert.Less(t, len(err.Error()), 1000, "a long value is cut")
		})
	}
	assert.NoError(t, checkLabels("field", map[string]string{"containerd.io/x": "y"}, true))
	assert.NoError(t, checkStrings("field", []string{"", long[1:]}))
	assert.NoError(t, checkID("field", "a-b.c_d"))
}
