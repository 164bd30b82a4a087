// Package sizing computes what an installation needs from what it has to do: the
// tables of deploy/sizing.md. It is arithmetic, with the figures of one machine;
// its tests hold the parts of it against the worker's own code.
package sizing

import (
	"math"
	"time"
)

// Load is what an installation has to do.
type Load struct {
	Rate     float64       // cancels per second, at the peak
	Latency  time.Duration // of the API, on average
	Outcomes float64       // in the dedupe window
	Handover time.Duration // how long a partition may stand still while it moves to another replica
}

// Limits are the API's, and the worker's settings.
type Limits struct {
	PerAddress    float64 // calls per second from one IP address
	PerSubAccount float64
	Concurrency   int // --concurrency
	Brokers       int // replication factor of the outcome topic
}

// Published are 8x8's limits, and the worker's defaults.
var Published = Limits{PerAddress: 3000, PerSubAccount: 1800, Concurrency: 1024, Brokers: 3}

// Costs are the figures of a machine.
type Costs struct {
	Request      time.Duration // CPU time of a request, TLS included
	Entry        float64       // bytes of an outcome in the index
	Outcome      float64       // bytes of an outcome in Kafka
	Replay       float64       // outcomes per second that a replica reads when it starts
	Base         float64       // bytes of a process without outcomes
	PerPartition float64       // bytes of a partition that is replayed
}

// Measured are those of deploy/sizing.md, which says how.
var Measured = Costs{
	Request: 120 * time.Microsecond, Entry: 30, Outcome: 880, Replay: 400_000, Base: 320 << 20, PerPartition: 4 << 20,
}

const (
	// busy is how much of its slots and cores a replica should use at the peak: the
	// rest is for retries, and for the share of a replica that fails.
	busy = 0.7

	// alone is what a single sub-account gets of the slots: the last sixteenth is
	// for others.
	alone = 15.0 / 16

	// collector is how far Go's heap grows beyond what is in use before it is
	// collected (GOGC=100); GOMEMLIMIT holds it down where memory is scarce.
	collector = 2
)

// Plan is what an installation needs.
type Plan struct {
	Slots       float64       // calls under way at the peak
	Cores       float64       // of all replicas together, at the peak
	Addresses   int           // IP addresses from which calls go out
	SubAccounts int           // among which the calls have to be spread
	Replicas    int           // one for each address, and as many as slots and cores ask for
	Partitions  int           // of the request topic, and of the outcome topic
	Memory      float64       // bytes of a replica: at most, when it has just replayed all its partitions
	Ledger      float64       // bytes of the outcome topic on all brokers, for the window
	Restart     time.Duration // of a replica, until all its partitions are replayed
}

// Plan computes what a load needs, on replicas with so many cores each.
func (c Costs) Plan(l Load, lim Limits, cores float64) Plan {
	p := Plan{
		Slots:       l.Rate * l.Latency.Seconds(), // Little's law
		Cores:       l.Rate * c.Request.Seconds(),
		Addresses:   up(l.Rate / lim.PerAddress),
		SubAccounts: up(l.Rate / lim.PerSubAccount),
		Ledger:      l.Outcomes * c.Outcome * float64(lim.Brokers),
	}
	slots := p.Slots / (busy * alone * float64(lim.Concurrency))
	p.Replicas = max(p.Addresses, up(slots), up(p.Cores/(busy*cores)))
	// Two partitions a replica, so that what one leaves is shared; and none with more
	// outcomes than can be replayed while it may stand still.
	p.Partitions = max(2*p.Replicas, up(l.Outcomes/(c.Replay*l.Handover.Seconds())))
	share := l.Outcomes / float64(p.Replicas)
	p.Memory = c.Memory(share, float64(p.Partitions)/float64(p.Replicas))
	p.Restart = time.Duration(share / c.Replay * float64(time.Second))
	return p
}

// Memory is what a replica with so many outcomes and partitions takes at most.
func (c Costs) Memory(outcomes, partitions float64) float64 {
	return c.Base + collector*(outcomes*c.Entry+partitions*c.PerPartition)
}

// Rate is how many calls per second a replica makes that has enough to do, for so
// many sub-accounts and with a share of the group's partitions.
func (lim Limits) Rate(latency time.Duration, subAccounts int, share float64) float64 {
	slots := float64(lim.Concurrency)
	if subAccounts == 1 {
		slots *= alone
	}
	return min(slots/latency.Seconds(), share*lim.PerAddress, share*lim.PerSubAccount*float64(subAccounts))
}

func up(x float64) int { return max(int(math.Ceil(x)), 1) }
