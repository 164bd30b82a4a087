// Package leaktest fails a package's tests when they leave goroutines behind.
//
// It has no say in how the goroutines end, and excuses none of them. TestMain
// of every package that starts goroutines ends with a call of Main.
package leaktest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines may take to end after the last test: longer
// than goleak's own second, which a busy machine can miss.
const patience = time.Minute

// Main runs the tests of a package and exits with 1 if they pass but
// goroutines stay.
func Main(m *testing.M) {
	if m.Run() != 0 {
		return // m carries the exit code, and what failed may have left anything
	}
	if err := wait(patience); err != nil {
		fmt.Fprintln(os.Stderr, "goroutines are left behind:", err)
		os.Exit(1)
	}
}

func wait(patience time.Duration) error {
	for deadline := time.Now().Add(patience); ; {
		err := goleak.Find() // takes a second before it complains
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}
