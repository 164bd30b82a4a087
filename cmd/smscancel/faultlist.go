package main

import (
	"fmt"
	"io"
	"sync"

	"smscancel/worker"
)

// maxFaults is how many rows at fault are listed; the others are counted.
const maxFaults = 20

// faultList shows the rows that are no valid requests.
type faultList struct {
	out io.Writer

	mu    sync.Mutex
	count int64
}

func (l *faultList) add(name string, line int, fault *worker.Rejection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count++; l.count <= maxFaults {
		fmt.Fprintln(l.out, oneLine(fmt.Sprintf("%s:%d: %v", name, line, fault)))
	}
}

// end says how many were not listed.
func (l *faultList) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if more := l.count - maxFaults; more > 0 {
		fmt.Fprintf(l.out, "and %s rows more\n", grouped(more))
	}
	l.count = min(l.count, maxFaults) // what comes now was not counted yet
}
