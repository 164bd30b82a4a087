// Package notrun ends a test that needs what the machine does not have, and
// takes note of it, so that a run over many packages can say at its end what it
// did not do. It does not look for anything itself: kafkatest (an engine), model
// (spin), page (a Chromium), the tests of completion (zsh, fish) and of the examples
// (Python, Java) do, and call Missing. No other test is ever skipped.
package notrun

import (
	"fmt"
	"os"
	"testing"
)

const (
	// RequireEnv set to 1 turns a suite that cannot run into a failure. It is
	// named after the first of them, and means all.
	RequireEnv = "SMSCANCEL_REQUIRE_KAFKA"
	// FileEnv names a file that gets one line for every test that was skipped:
	// its directory, its name, the reason.
	FileEnv = "SMSCANCEL_NOT_RUN_FILE"
)

// Missing skips the test for want of something, and fails it when RequireEnv is 1.
func Missing(tb testing.TB, need, reason string) {
	tb.Helper()
	if os.Getenv(RequireEnv) == "1" {
		tb.Fatalf("%s is required (%s=1): %s", need, RequireEnv, reason)
	}
	if err := note(tb.Name(), reason); err != nil {
		tb.Fatalf("note a test that does not run: %v", err)
	}
	tb.Skipf("needs %s: %s", need, reason)
}

// packageDir is where go test starts a package's tests, before one of them
// changes the directory.
var packageDir, _ = os.Getwd()

func note(test, reason string) error {
	path := os.Getenv(FileEnv)
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s\t%s\t%s\n", packageDir, test, reason)
	if errClose := f.Close(); err == nil {
		err = errClose
	}
	return err
}
