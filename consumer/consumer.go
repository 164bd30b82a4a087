// Package consumer takes part in the group and owns each partition's life:
// takeover, fetch, decode, tracking of what is settled, commit, hand-over.
//
// It makes no calls to the API and writes no outcomes: a session gives each
// record to package worker and is told when its outcome is durable. Its caller
// is cmd/smscancel, which hands it the ledger (package producer) as TakeOver.
package consumer

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"

	"smscancel/consumer/records"
	"smscancel/worker"
)

// Ledger is this process's fenced hold on the outcomes of one request partition.
type Ledger interface {
	worker.Ledger
	// Identity is the producer id and epoch that fence every other writer.
	Identity() (pid int64, epoch int16)
	// Replay visits the outcomes of this source from a ledger offset to the
	// fence, and must be complete before the first Append.
	Replay(ctx context.Context, from int64, visit func(worker.Settled), progress func(at, end int64)) error
	// Next is a ledger offset below which nothing will be written by this hold.
	Next() int64
	// Proven is how long ago the hold was last known to stand.
	Proven() time.Duration
	// Prove finds out whether it still stands.
	Prove(ctx context.Context) error
	// Stalled is how long the oldest append has waited for its acknowledgement.
	Stalled() time.Duration
	// Trouble is what the broker said to it last; nil if nothing.
	Trouble() error
	// Failed is closed when nothing can be written any more; Err says why.
	Failed() <-chan struct{}
	Err() error
	Close()
}

// Outcomes is the outcome topic as the consumer needs it.
type Outcomes interface {
	// Fence takes over the ledger of a request partition.
	Fence(ctx context.Context, topic string, partition int) (Ledger, error)
	// Check refuses if the topic's partition count is not what it was.
	Check(ctx context.Context) error
	// Bounds is where the replay of a request partition's ledger may begin.
	Bounds(ctx context.Context, partition int, since time.Time) (worker.LedgerBounds, error)
}

// Config is what a Consumer needs. All fields are required unless marked.
type Config struct {
	Client       *kafka.Client
	Records      *records.Client
	Dialer       *kafka.Dialer
	Brokers      []string
	ClusterID    string
	Group        string
	Topics       []string // request topics
	OutcomeTopic string
	N            int // partitions of the outcome topic

	SessionTimeout time.Duration
	AttemptTimeout time.Duration // how long a call in hand can take at a hand-over
	DrainTimeout   time.Duration // how long a shutdown may take
	DedupeWindow   time.Duration
	Window         int // records in hand over all partitions
	WindowBytes    int // and bytes of their values

	Outcomes Outcomes
	Handler  *worker.Handler
	Log      zerolog.Logger
}

// Consumer is one member of the group.
type Consumer struct {
	Config
	window *window

	mu       sync.Mutex
	holds    map[topicPartition]*hold
	idle     map[topicPartition]map[fence]bool // fences of this process under which no call was started
	member   *kafka.Generation                 // the last assignment; nil = none yet
	entered  int32                             // the last generation that this member took part in
	assigned map[topicPartition]bool
	claimed  map[topicPartition]bool // when it joined last
	sessions int                     // partitions whose takeover is complete and whose session is not over
	stopping bool
	trouble  string          // why there is no generation; empty when there is one
	said     map[string]bool // troubles since then that were logged
	outside  time.Time       // when the last generation ended; zero while there is one

	partitions atomic.Pointer[map[string][]int] // of each request topic, for the check of keys
	assignedOf atomic.Pointer[map[string][]int] // those that this member, as leader, assigned last
	leaving    atomic.Bool                      // the membership may end
	wakeCommit chan struct{}                    // capacity 1
	ctx        context.Context
}

type topicPartition struct {
	topic     string
	partition int
}

// New returns a consumer that Run starts.
func New(c Config) *Consumer {
	return &Consumer{
		Config: c, window: newWindow(c.Window, c.WindowBytes),
		holds: map[topicPartition]*hold{}, idle: map[topicPartition]map[fence]bool{}, assigned: map[topicPartition]bool{},
		wakeCommit: make(chan struct{}, 1), trouble: "not joined yet", said: map[string]bool{},
	}
}

// requestCommit asks for a commit before its time.
func (c *Consumer) requestCommit() {
	select {
	case c.wakeCommit <- struct{}{}:
	default:
	}
}
