package schedule

import (
	"slices"
	"time"

	"smscancel/integration/checker"
	"smscancel/integration/simulator"
)

// Plan is one schedule: what is requested, and what goes wrong when. It is
// data, so that it can be told, repeated and cut down.
type Plan struct {
	Seed     uint64
	Setting  Setting
	Length   time.Duration // then everything is mended, and the run goes on until it is done
	Requests []Request     // in the order of At
	Events   []Event       // in the order of At
}

// Setting is how the workers, the broker and the API are set up.
type Setting struct {
	Topics     int // request topics
	Partitions int // of each
	N          int // partitions of the outcome topic
	Replicas   int // at the start, and again at the end
	Lag        time.Duration
	AppendTime bool // the outcome topic has LogAppendTime

	SessionTimeout, AttemptTimeout, DrainTimeout, DedupeWindow time.Duration
	Window, Concurrency                                        int
	RateLimit                                                  float64
	RetryInitial, RetryMaxInterval, RetryMaxElapsed            time.Duration
	RetryMaxAttempts                                           int
	RetryAfterMax, AuthHold                                    time.Duration
	DefaultSubAccount                                          string
	RepeatNotFound                                             bool // what the API answers to a second DELETE

	API      simulator.Faults // from the start
	Messages map[string]simulator.MessageRule

	DeafToFile bool // the workers do not read their file again
}

// Request is one record to publish.
type Request struct {
	At          time.Duration
	Topic       int
	Partition   int
	Key, Value  []byte
	Headers     [][2]string
	Timestamp   time.Duration // before now; 0 = now
	Transaction int           // 0 = none; requests of one transaction stand together
	Abort       bool          // that transaction
}

// Kind is what an event does.
type Kind string

const (
	Start       Kind = "start"
	Kill        Kind = "kill"
	Stop        Kind = "stop"
	Stall       Kind = "stall" // nothing gets through, but all of it later
	Lose        Kind = "lose"  // nothing gets through, and never will
	Refuse      Kind = "refuse connections"
	Break       Kind = "break connections"
	Misbehave   Kind = "the API misbehaves"
	Ambush      Kind = "ambush" // waits for a point
	MoveLeaders Kind = "move leaders"
	MoveGroups  Kind = "move coordinators"
	LoseBroker  Kind = "lose a broker"
	Retention   Kind = "delete old requests"
	Recreate    Kind = "create a topic again"
	SetOffset   Kind = "set an offset"
	Rival       Kind = "a second group"
	Hold        Kind = "hold back"
)

// Phase says when in an exchange an ambush strikes.
type Phase int

const (
	Before Phase = iota // the request has not left
	Sent                // it took effect, and its answer has not come
	After               // the answer has come, and nothing more will go out
)

// Act is what an ambush does to an exchange.
type Act string

const (
	Crash  Act = "crash"
	Cut    Act = "lose"  // Before: the request; Sent: the answer. The connection breaks
	Hang   Act = "hang"  // as Cut, but nobody hears of it
	Answer Act = "error" // Before: refused; Sent: done, and answered with an error
	Late   Act = "late"  // the connection breaks, the request arrives later nevertheless
	Slow   Act = "slow"
)

// Event is something that goes wrong, or is mended.
type Event struct {
	At      time.Duration
	Kind    Kind
	Replica int // slot; -1 = every one
	For     time.Duration

	Side Side
	Way  Way

	Point    Point // of an ambush
	When     Phase
	Act      Act
	Code     int16 // Kafka's error code
	Skip     int   // so often the point is passed unharmed
	Times    int   // then it strikes so often
	Stopping bool  // only where the process was told to stop
	Least    int   // only appends of so many outcomes; 0 = any

	Broker int32
	API    simulator.Faults

	Topic, Partition int // of a request partition
	N                int64
	Text             Text
	Crash            bool // instead of a stop

	Held checker.Held // its times are those of the event
}

// has tells whether any event of the plan is of a kind.
func (p *Plan) has(kind func(*Event) bool) bool {
	return slices.ContainsFunc(p.Events, func(e Event) bool { return kind(&e) })
}
