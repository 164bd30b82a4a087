package bench

import (
	"context"
	"fmt"
	"io"

	"smscancel/worker"
)

// Spec says what a contender does.
type Spec struct {
	Contender string // limit, baseline or bare
	Progress  bool   // file descriptor 3 is for progress: Limit writes to it, Bare reads from it
	Count     int    // of requests

	// Limit and Baseline.
	API    string // base URL
	CAFile string // of the API; empty for none
	Key    string

	// Limit.
	Concurrency int
	SubAccounts int // among which the requests are shared
	Rate        int // requests a second; 0 = as fast as they are answered

	// Baseline and Bare.
	Brokers  []string
	Requests string // topic
	Outcomes string // topic
	Group    string
	Sample   []byte // Bare: the value of every record that it writes
}

// Report is what a contender has to say at its end.
type Report struct {
	Done    int
	Seconds float64 // from the first request to the last
	CPU     float64 // seconds, user and system, meanwhile
	PeakRSS float64 // bytes, of the whole process
	Latency Latency // Limit: from when a request was due to its last answer
	Retries int
}

// Run does what the spec says. What Limit has done it tells to progress, a byte
// for each Step of requests, and Bare goes on by them.
func (s *Spec) Run(ctx context.Context, progress io.ReadWriter) (Report, error) {
	switch s.Contender {
	case "limit":
		return s.limit(ctx, progress)
	case "baseline":
		return s.baseline(ctx)
	case "bare":
		return s.bare(ctx, progress)
	}
	return Report{}, fmt.Errorf("there is no contender %q", s.Contender)
}

// Step is how many requests a byte of progress stands for.
const Step = 100

// Target is the message of the n-th request, for every contender the same.
func Target(n, subAccounts int) worker.Target {
	return worker.Target{SubAccountID: fmt.Sprintf("acme_%d", n%subAccounts), ID: fmt.Sprintf("%08x-0000-4000-8000-%012x", n, n)}
}
