package schedule

import (
	"testing"
	"time"

	"smscancel/integration/checker"
	"smscancel/integration/simulator"
	"smscancel/worker"
)

// wrongCampaign is a plan in which one campaign fills the window of two replicas
// at their rate limit, while requests of no campaign come all the time.
func wrongCampaign(requests int, held ...Event) *Plan {
	p := &Plan{Seed: 1, Length: 80 * time.Second, Setting: Setting{
		Topics: 1, Partitions: 4, N: 2, Replicas: 2, Lag: time.Millisecond, AppendTime: true, SessionTimeout: 6 * time.Second,
		AttemptTimeout: 2 * time.Second, DrainTimeout: 25 * time.Second, DedupeWindow: time.Hour, Window: 2000, Concurrency: 64,
		RateLimit: 20, RetryInitial: 500 * time.Millisecond, RetryMaxInterval: 2 * time.Second, RetryMaxElapsed: time.Minute, RetryAfterMax: time.Minute,
		API: simulator.Faults{Latency: simulator.Latency{Min: 100 * time.Millisecond, Max: 500 * time.Millisecond},
			Rates: map[string]float64{"500-after": .02, "503": .1, "hang-after": .01}},
	}}
	for n := range requests {
		p.ask(2*time.Second, 0, n%4, "acme_shop", "wrong")
	}
	for n := range 200 {
		p.ask(2*time.Second+time.Duration(n)*300*time.Millisecond, 0, (requests+n)%4, "acme_shop", "right")
	}
	p.Events = append([]Event{{Kind: Start, Replica: 0}, {Kind: Start, Replica: 1}}, held...)
	return p
}

// A campaign is paused for 20 s while its calls go out at the limit, goes on, and is
// withdrawn at last, while one replica dies and another one starts. Promise: no call
// of it 2 s after the file says so, one outcome each, ambiguous where a call is
// open; the others go on.
func TestAWrongCampaignIsStoppedUnderLoadAndOthersGoOn(t *testing.T) {
	p := wrongCampaign(1600,
		Event{At: 10 * time.Second, Kind: Hold, Held: checker.Held{Campaign: "wrong"}, For: 20 * time.Second},
		Event{At: 15 * time.Second, Kind: Kill, Replica: 1},
		Event{At: 18 * time.Second, Kind: Start, Replica: 1},
		Event{At: 45 * time.Second, Kind: Hold, Held: checker.Held{Campaign: "wrong", Withdrawn: true}, For: 10 * time.Minute},
		Event{At: 60 * time.Second, Kind: Stop, Replica: 0},
	)
	r := Run(t, p)
	if r.Failure != "" {
		t.Fatal(r.Failure)
	}
	t.Logf("%d calls, %v, %d ambiguous", r.Counts.Calls, r.Counts.ByStatus, r.Counts.Ambiguous)
	// Without a stop the 1,600 would take 40 s at 40 calls a second; 28 s are left to them.
	if n := r.Counts.ByStatus[worker.StatusFailed]; n < 200 || r.Counts.Outcomes != 1800 {
		t.Errorf("%d of %d requests were withdrawn", n, r.Counts.Outcomes)
	}
	if n := r.Counts.ByStatus[worker.StatusCancelled]; n < 400 {
		t.Errorf("%d requests were cancelled", n)
	}
}

// Promise: the checker sees the calls that a worker makes which reads the file
// only once.
func TestAWorkerThatDoesNotReadTheFileAgainIsCaught(t *testing.T) {
	p := wrongCampaign(800, Event{At: 6 * time.Second, Kind: Hold, Held: checker.Held{Campaign: "wrong"}, For: 20 * time.Second})
	p.Setting.DeafToFile = true
	if r := Run(t, p); r.Failure == "" {
		t.Error("nothing was noticed")
	}
}
