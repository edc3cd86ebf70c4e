package cgroupstats

import "google.golang.org/protobuf/encoding/protowire"

// decodeV2 reads io.containerd.cgroups.v2.Metrics.
func decodeV2(b []byte) (Stats, error) {
	s := Stats{Version: 2, MemoryLimit: None, SwapLimit: None, PIDsLimit: None}
	var pidsLimit uint64
	err := each(b, func(field protowire.Number, _ uint64, message []byte) error {
		switch field {
		case 1:
			return numbers(message, fields{1: &s.PIDs, 2: &pidsLimit})
		case 2:
			return s.cpuV2(message)
		case 4:
			return s.memoryV2(message)
		case 6:
			return s.ioV2(message)
		case 8:
			return numbers(message, fields{5: &s.OOMKills})
		}
		return nil
	})
	s.PIDsLimit = limit(pidsLimit)
	return s, err
}

func (s *Stats) cpuV2(b []byte) error {
	var total, user, system, throttled uint64
	err := numbers(b, fields{1: &total, 2: &user, 3: &system, 4: &s.Periods, 5: &s.ThrottledPeriods, 6: &throttled})
	s.CPUTotal, s.CPUUser, s.CPUSystem, s.ThrottledNanos = micros(total), micros(user), micros(system), micros(throttled)
	return err
}

func (s *Stats) memoryV2(b []byte) error {
	var memoryLimit, swap uint64
	err := numbers(b, fields{
		13: &s.MemoryInactiveFile, 32: &s.MemoryUsage, 33: &memoryLimit, 34: &s.SwapUsage, 35: &swap, 36: &s.MemoryPeak,
	})
	s.MemoryLimit, s.SwapLimit = limit(memoryLimit), swapLimit(swap)
	return err
}

func (s *Stats) ioV2(b []byte) error {
	return each(b, func(field protowire.Number, _ uint64, message []byte) error {
		if field != 1 {
			return nil
		}
		var r, w, rs, ws uint64
		err := numbers(message, fields{3: &r, 4: &w, 5: &rs, 6: &ws})
		s.ReadBytes, s.WriteBytes, s.ReadOps, s.WriteOps = s.ReadBytes+r, s.WriteBytes+w, s.ReadOps+rs, s.WriteOps+ws
		return err
	})
}
