//go:build !race

package embedded

import "os"

func childEnv() []string { return os.Environ() }
