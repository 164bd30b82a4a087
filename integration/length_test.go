package integration

import "os"

// longRun is set by make faults-kafka: the fault tests then run at full length,
// which is too long for every change.
var longRun = os.Getenv("SMSCANCEL_LONG") == "1"

// length is how much of something a test does: short in every run, full in a
// long one.
func length(short, full int) int {
	if longRun {
		return full
	}
	return short
}
