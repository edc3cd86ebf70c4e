package cgroupstats

import "google.golang.org/protobuf/encoding/protowire"

type fields = map[protowire.Number]*uint64

// decodeV1 reads io.containerd.cgroups.v1.Metrics.
func decodeV1(b []byte) (Stats, error) {
	s := Stats{Version: 1, MemoryLimit: None, SwapLimit: None, PIDsLimit: None}
	var pidsLimit uint64
	err := each(b, func(field protowire.Number, _ uint64, message []byte) error {
		switch field {
		case 2:
			return numbers(message, fields{1: &s.PIDs, 2: &pidsLimit})
		case 3:
			return s.cpuV1(message)
		case 4:
			return s.memoryV1(message)
		case 5:
			return s.blockIOV1(message)
		case 9:
			return numbers(message, fields{3: &s.OOMKills})
		}
		return nil
	})
	s.PIDsLimit = limit(pidsLimit)
	return s, err
}

func (s *Stats) cpuV1(b []byte) error {
	return each(b, func(field protowire.Number, _ uint64, message []byte) error {
		switch field {
		case 1:
			return numbers(message, fields{1: &s.CPUTotal, 2: &s.CPUSystem, 3: &s.CPUUser})
		case 2:
			return numbers(message, fields{1: &s.Periods, 2: &s.ThrottledPeriods, 3: &s.ThrottledNanos})
		}
		return nil
	})
}

// memoryV1 takes swap apart, which version 1 counts together with memory.
func (s *Stats) memoryV1(b []byte) error {
	var memoryLimit, bothUsage, bothLimit uint64
	var bothRead bool
	err := each(b, func(field protowire.Number, number uint64, message []byte) error {
		switch field {
		case 30:
			s.MemoryInactiveFile = number
		case 33:
			return numbers(message, fields{1: &memoryLimit, 2: &s.MemoryUsage, 3: &s.MemoryPeak})
		case 34:
			bothRead = len(message) > 0 // without swap accounting the message is empty
			return numbers(message, fields{1: &bothLimit, 2: &bothUsage})
		}
		return nil
	})
	s.MemoryLimit = limit(memoryLimit)
	if bothRead {
		s.SwapUsage = less(bothUsage, s.MemoryUsage)
		if both := limit(bothLimit); both != None && s.MemoryLimit != None {
			s.SwapLimit = max(0, both-s.MemoryLimit)
		}
	}
	return err
}

func (s *Stats) blockIOV1(b []byte) error {
	return each(b, func(field protowire.Number, _ uint64, message []byte) error {
		switch field {
		case 1:
			return addOperation(message, &s.ReadBytes, &s.WriteBytes)
		case 2:
			return addOperation(message, &s.ReadOps, &s.WriteOps)
		}
		return nil
	})
}

// addOperation adds one device's value of one operation.
func addOperation(b []byte, read, write *uint64) error {
	var operation string
	var value uint64
	err := each(b, func(field protowire.Number, number uint64, message []byte) error {
		switch field {
		case 1:
			operation = string(message)
		case 5:
			value = number
		}
		return nil
	})
	switch operation {
	case "Read":
		*read += value
	case "Write":
		*write += value
	}
	return err
}
