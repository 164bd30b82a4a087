package leaktest

import (
	"strings"
	"testing"
)

func TestMain(m *testing.M) { Main(m) }

func TestAGoroutineThatStaysIsNamed(t *testing.T) {
	stay, gone := make(chan struct{}), make(chan struct{})
	go func() { defer close(gone); linger(stay) }()
	err := wait(0)
	close(stay)
	<-gone
	if err == nil || !strings.Contains(err.Error(), "leaktest.linger") {
		t.Errorf("a goroutine that stays is reported as %v", err)
	}
}

func linger(stay <-chan struct{}) { <-stay }
