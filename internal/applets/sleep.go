package applets

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// never is a time that does not come: all that a Duration can't hold.
const never = time.Duration(math.MaxInt64)

// units are the suffixes of a time.
var units = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}

// sleep waits for the sum of its arguments: numbers, which may be fractions or
// infinite, of seconds or of the unit that follows.
func sleep(ctx context.Context, sys System, c call) error {
	var sum time.Duration
	for _, arg := range c.args {
		d, err := duration(arg)
		if err != nil {
			return err
		}
		if sum += d; sum < 0 {
			sum = never
		}
	}
	if sum == never {
		return forever(ctx, sys)
	}
	return sys.Sleep(ctx, sum)
}

func duration(arg string) (time.Duration, error) {
	number, unit := arg, time.Second
	for suffix, d := range units {
		if before, ok := strings.CutSuffix(arg, suffix); ok {
			number, unit = before, d
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if errors.Is(err, strconv.ErrRange) { // then it is infinite, or next to nothing
		err = nil
	}
	if err != nil || math.IsNaN(n) || n < 0 {
		return 0, misuse("%q is no time", arg)
	}
	if n *= float64(unit); n >= float64(never) {
		return never, nil
	}
	return time.Duration(n), nil
}

// forever waits for a signal that ends the process. It is no sleep: a clock that
// skips what all sleep through would skip the end of time.
func forever(ctx context.Context, sys System) error {
	for {
		if _, err := sys.NextSignal(ctx); err != nil {
			return err
		}
	}
}

// hold leaves a child behind that keeps stdout open for SECONDS.
func hold(_ context.Context, sys System, c call) error {
	if _, err := duration(c.args[0]); err != nil {
		return err
	}
	_, err := sys.Start(&Command{Args: []string{"sleep", c.args[0]}, Stdout: sys.Stdout(), Stderr: sys.Stderr()})
	return err
}

// pause waits until SIGTERM or SIGINT.
func pause(ctx context.Context, sys System, _ call) error {
	sys.Trap(syscall.SIGTERM, syscall.SIGINT)
	_, err := sys.NextSignal(ctx)
	return err
}
