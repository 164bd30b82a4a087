package checker

import (
	"time"

	"smscancel/integration/simulator"
)

// Run is everything that a run left behind.
type Run struct {
	// Requests are the visible records of the request topics: those of aborted
	// transactions and control markers are left out. The records of a partition
	// stand in their order; those of a topic that was deleted and created again
	// come before those of its successor.
	Requests []Record
	// Outcomes is every record of the outcome topic, markers left out, those of
	// a partition in their order.
	Outcomes []Record
	Calls    []simulator.Call // in any order
	// Commits is the history of the offset commits as the coordinator applied
	// them, those of a partition in their order.
	Commits []Commit
	Logs    []Log
	Outputs []Output
	Setup   Setup
}

// Setup is how the run was made, and what it allows. Zero values are the strict
// rules.
type Setup struct {
	ClusterID    string
	Group        string
	OutcomeTopic string
	N            int // partitions of the outcome topic

	Window            time.Duration // --dedupe-window
	SessionTimeout    time.Duration // --session-timeout
	AttemptTimeout    time.Duration // --attempt-timeout
	DefaultSubAccount string        // --default-sub-account
	Canary            string        // the API key; must stand nowhere

	// LostBelow gives per topic and partition the offset below which records
	// were deleted by retention before they were handled: they need no outcome.
	LostBelow map[string]map[int]int64
	// MaxOutcomeBytes is max.message.bytes of the outcome topic where that is so
	// small that outcomes may have to leave out source.value and metadata.
	MaxOutcomeBytes int
	// Held is what an operator held back, and when the workers' file said so.
	Held []Held
	// OffsetsSet: somebody else than the workers has set offsets of the group.
	OffsetsSet bool
	// ClocksDiffer: the times of brokers, workers and simulator cannot be
	// compared with each other, because a clock was set or jumped.
	ClocksDiffer bool
	// CallsLost: connections may break before the simulator sees the call, so
	// more attempts may have been made than calls arrived.
	CallsLost bool
}

// Record is one record of a topic.
type Record struct {
	Topic     string
	Partition int
	Offset    int64
	Timestamp time.Time
	Key       []byte // nil for none
	Value     []byte // nil for a tombstone
	Headers   []Header

	ProducerID    int64 // of its batch; -1 = none
	ProducerEpoch int16
}

// Header is one header of a record.
type Header struct {
	Key   string
	Value []byte
}

// Commit is one offset commit.
type Commit struct {
	Group     string // empty = that of the Setup
	Topic     string
	Partition int
	Offset    int64 // -1 = the one before is taken back: its topic was deleted
	Metadata  string
	At        time.Time // when the coordinator handled it, by its clock
}

// Log is what one process wrote: zerolog's JSON, one object a line. Lines that
// are none are searched for secrets only.
type Log struct {
	Name string // of the process, for the reader of a report
	Text []byte
}

// Output is any other text that must hold no secret.
type Output struct {
	Name string
	Text []byte
}
