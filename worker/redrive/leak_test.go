package redrive

import (
	"testing"

	"smscancel/integration/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }
