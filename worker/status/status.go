// Package status serves what an operator asks a worker over HTTP: is it alive,
// is it ready, what is it doing, and its metrics.
//
// It only shows what others report: package consumer fills in the partitions,
// package worker the recent errors. cmd/smscancel starts the server.
package status

import (
	"sync"
	"time"
)

// Status is the answer of /api/status. It speaks for one replica only.
type Status struct {
	Time        time.Time    `json:"time"` // when it was so
	Instance    string       `json:"instance"`
	Version     string       `json:"version"`
	Ready       bool         `json:"ready"`
	Reason      string       `json:"reason,omitempty"` // why it is not ready
	Generation  int32        `json:"generation"`       // of the consumer group
	Partitions  []Partition  `json:"partitions"`
	Destination Door         `json:"destination"`
	SubAccounts []SubAccount `json:"subAccounts"`
	Operator    Operator     `json:"operator"`
	Outcomes    Outcomes     `json:"outcomes"`
	Replay      *Replay      `json:"replay,omitempty"` // while a takeover reads its ledger
	Oldest      *Oldest      `json:"oldest,omitempty"`
	Errors      []Error      `json:"errors"` // newest first
}

// Partition is a request partition of this replica.
type Partition struct {
	Topic     string     `json:"topic"`
	Partition int        `json:"partition"`
	State     string     `json:"state"` // takeover, running, draining, waiting
	Reason    string     `json:"reason,omitempty"`
	Since     time.Time  `json:"since"`
	Watermark int64      `json:"watermark"`
	End       int64      `json:"end"`
	Lag       int64      `json:"lag"`              // records between watermark and end
	Oldest    *time.Time `json:"oldest,omitempty"` // timestamp of the oldest of those in hand
	InHand    int        `json:"inHand"`           // records without an outcome yet
	Dedupe    int        `json:"dedupe"`           // settled messages remembered
	Epoch     int16      `json:"epoch"`            // of the fence
	Paused    int        `json:"paused"`           // of those in hand: held back by the operator

	FetchStopped   string `json:"fetchStopped,omitempty"`   // why nothing is fetched, though all is well
	FetchStoppedBy string `json:"fetchStoppedBy,omitempty"` // the sub-account whose requests leave no room
}

// SubAccount is what the limits do to one sub-account now.
type SubAccount struct {
	SubAccountID string     `json:"subAccountId"`
	Waiting      int        `json:"waiting"`
	InFlight     int        `json:"inFlight"`
	Slots        int        `json:"slots"`            // calls at once that the API's latency allows now
	Oldest       *time.Time `json:"oldest,omitempty"` // when the request that waits longest was taken in hand
	Door

	Paused        int        `json:"paused"`                  // requests in hand that the operator holds back
	OperatorPause *time.Time `json:"operatorPause,omitempty"` // since when the operator has paused all of it
	FetchStopped  []string   `json:"fetchStopped,omitempty"`  // partitions that fetch nothing because its requests leave no room
}

// Door is what lets calls out: of one sub-account, or of all together.
type Door struct {
	RateUsed    float64    `json:"rateUsed"`              // calls per second of late
	RateAllowed float64    `json:"rateAllowed"`           // calls per second of this replica; 0 = no limit
	State       string     `json:"state"`                 // open, pause, breaker, auth, upgrade
	Reason      string     `json:"reason,omitempty"`      // what the API said
	Since       *time.Time `json:"since,omitempty"`       // of breaker, auth and upgrade
	NextProbe   *time.Time `json:"nextProbe,omitempty"`   // of breaker, auth and upgrade
	PausedUntil *time.Time `json:"pausedUntil,omitempty"` // by a Retry-After
}

// Operator is what the configuration file holds back, and whether the file as it
// stands is in force.
type Operator struct {
	Loaded            time.Time  `json:"loaded"`                 // when the settings in force were taken over
	Error             string     `json:"error,omitempty"`        // why the file as it stands cannot be used
	FailingSince      *time.Time `json:"failingSince,omitempty"` // since when
	PausedAll         *time.Time `json:"pausedAll,omitempty"`    // since when everything is paused
	PausedSubAccounts HeldList   `json:"pausedSubAccounts"`
	PausedCampaigns   HeldList   `json:"pausedCampaigns"`
	Withdrawn         HeldList   `json:"withdrawnCampaigns"`
	Waiting           int        `json:"waiting"` // requests in hand that are paused
}

// HeldList is a list of the file, of which a page names the newest only.
type HeldList struct {
	Total  int    `json:"total"`
	Newest []Held `json:"newest"`
}

// Held is what is held back, and since when.
type Held struct {
	ID    string    `json:"id"`
	Since time.Time `json:"since"`
}

// Replay is the progress of all takeovers under way, in ledger records.
type Replay struct {
	Read  int64 `json:"read"`
	Total int64 `json:"total"`
}

// Oldest is the oldest request record without an outcome.
type Oldest struct {
	Topic     string    `json:"topic"`
	Partition int       `json:"partition"`
	Offset    int64     `json:"offset"`
	Timestamp time.Time `json:"timestamp"`

	SubAccountID string `json:"subAccountId,omitempty"`
	// WaitsFor is turn, duplicate, pause, ledger, call, retry or outcome; where it
	// may not call yet, the state of what holds it back, or "limit or slot".
	WaitsFor string `json:"waitsFor,omitempty"`
}

// Error is a recent error, of the API or of the worker's surroundings.
type Error struct {
	Time         time.Time `json:"time"`
	SubAccountID string    `json:"subAccountId,omitempty"`
	Kind         string    `json:"kind"`
	Code         *int      `json:"code,omitempty"`
	ErrorID      string    `json:"errorId,omitempty"`
	HTTPStatus   int       `json:"httpStatus,omitempty"`
	Message      string    `json:"message"`
}

// maxErrors is how many recent errors are kept.
const maxErrors = 50

// Recent keeps the last errors. It is safe for concurrent use.
type Recent struct {
	mu   sync.Mutex
	ring [maxErrors]Error
	n    int
}

// Add notes an error.
func (r *Recent) Add(e Error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring[r.n%maxErrors] = e
	r.n++
}

// List returns the errors, newest first.
func (r *Recent) List() []Error {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]Error, 0, min(r.n, maxErrors))
	for i := r.n - 1; i >= 0 && i >= r.n-maxErrors; i-- {
		list = append(list, r.ring[i%maxErrors])
	}
	return list
}
