package kafkatest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
)

// Broker ports lie below the ephemeral range of the usual systems. A client
// that redials a stopped broker on an ephemeral port can be given that very
// port as its own: it then talks to itself, and the broker cannot come back.
const (
	lowestPort  = 12000
	highestPort = 32000
	portTries   = 200
)

// FreePort picks a loopback port that nobody listens on. Another process may
// take it before the broker does: see isPortTaken.
func FreePort() (int, error) {
	for range portTries {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		l, err := net.Listen("tcp", loopback(port))
		if err != nil {
			continue
		}
		return port, l.Close()
	}
	return 0, fmt.Errorf("no free port on 127.0.0.1 between %d and %d in %d tries", lowestPort, highestPort, portTries)
}

func loopback(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// isPortTaken recognizes the engine's complaint about a published port. It has
// no error code of its own.
func isPortTaken(err error) bool {
	text := err.Error()
	return strings.Contains(text, "port is already allocated") ||
		strings.Contains(text, "address already in use")
}
