package main

import (
	"os"
	"testing"

	"smscancel/integration/leaktest"
)

// asProgram set to 1 makes the test binary the program itself, for shells and
// terminals.
const asProgram = "SMSCANCEL_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "1" {
		main()
	}
	leaktest.Main(m)
}
