// Command guest is what the tests run in containers.
package main

import (
	"os"
	"os/signal"
)

func main() {
	never := make(chan os.Signal, 1)
	signal.Notify(never, os.Interrupt)
	for {
		<-never
	}
}
