// Package cgroupstats reads the statistics that shims send of cgroups, of
// version 1 and version 2 alike.
//
// The messages are those of github.com/containerd/cgroups/v3, which containerd's
// client does not bring, and which says more than is needed here. They are read
// field by field; the tests compare with the real types.
package cgroupstats

import (
	"fmt"
	"math"

	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/encoding/protowire"
)

// The types of the messages.
const (
	TypeV1 = "io.containerd.cgroups.v1.Metrics"
	TypeV2 = "io.containerd.cgroups.v2.Metrics"
)

// None is a limit that is not set, or that the message does not say.
const None = -1

// Stats are the statistics of one cgroup. Times are in nanoseconds.
type Stats struct {
	Version int // of the cgroup

	CPUTotal, CPUUser, CPUSystem              uint64
	Periods, ThrottledPeriods, ThrottledNanos uint64

	MemoryUsage, MemoryInactiveFile, MemoryPeak uint64
	SwapUsage                                   uint64
	MemoryLimit, SwapLimit                      int64
	OOMKills                                    uint64

	PIDs      uint64
	PIDsLimit int64

	ReadBytes, WriteBytes, ReadOps, WriteOps uint64
}

// Decode reads a message of the type.
func Decode(typeURL string, value []byte) (Stats, error) {
	switch typeURL {
	case TypeV1:
		return decodeV1(value)
	case TypeV2:
		return decodeV2(value)
	}
	return Stats{}, fmt.Errorf("statistics of type %q: %w", typeURL, errdefs.ErrNotImplemented)
}

// unlimited is above every limit that means anything: kernels write 2^63 less a
// page, or "max", which is read as 2^64-1.
const unlimited = 1 << 62

// limit returns a limit that is 0, or very large, if there is none.
func limit(n uint64) int64 {
	if n == 0 || n >= unlimited {
		return None
	}
	return int64(n)
}

// swapLimit is limit for one that can be 0.
func swapLimit(n uint64) int64 {
	if n >= unlimited {
		return None
	}
	return int64(n)
}

// micros returns microseconds in nanoseconds.
func micros(n uint64) uint64 {
	if n > math.MaxUint64/1000 {
		return math.MaxUint64
	}
	return n * 1000
}

// less returns a-b, or 0 if b is more: the two were not read at the same time.
func less(a, b uint64) uint64 {
	if b > a {
		return 0
	}
	return a - b
}

// each calls visit with every field of a message: number for a varint, message
// for a length-prefixed one.
func each(b []byte, visit func(field protowire.Number, number uint64, message []byte) error) error {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return malformed(n)
		}
		b = b[n:]
		var number uint64
		var message []byte
		switch kind {
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			message, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(field, kind, b)
		}
		if n < 0 {
			return malformed(n)
		}
		b = b[n:]
		if kind != protowire.VarintType && kind != protowire.BytesType {
			continue
		}
		if err := visit(field, number, message); err != nil {
			return err
		}
	}
	return nil
}

func malformed(n int) error {
	return fmt.Errorf("statistics: %w: %w", protowire.ParseError(n), errdefs.ErrInternal)
}

// numbers reads the fields of a message that are numbers.
func numbers(b []byte, into map[protowire.Number]*uint64) error {
	return each(b, func(field protowire.Number, number uint64, _ []byte) error {
		if target := into[field]; target != nil {
			*target = number
		}
		return nil
	})
}
