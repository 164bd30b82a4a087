package schedule

import (
	"encoding/json"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Point is a step of the worker as it is seen from outside, by the request that
// it makes.
type Point string

const (
	Call       Point = "call"          // a DELETE
	Append     Point = "append"        // of outcomes
	Lease      Point = "lease commit"  // a commit that raises the lease
	Commit     Point = "commit"        // any other commit
	LastCommit Point = "last commit"   // of a partition that is handed over
	Init       Point = "fence: init"   // takeover: a new epoch
	Add        Point = "fence: add"    // takeover: the empty transaction begins
	End        Point = "fence: end"    // takeover: it is committed
	Barrier    Point = "fence: wait"   // takeover: until its marker stands in the log
	Proof      Point = "proof"         // an empty transaction at any other time
	CommitRead Point = "read commit"   // by a takeover, or by a new generation
	Bounds     Point = "read bounds"   // ListOffsets
	Replay     Point = "replay"        // a fetch from the outcome topic
	Fetch      Point = "fetch"         // a fetch from a request topic
	Join       Point = "join"          // JoinGroup
	Sync       Point = "sync"          // SyncGroup
	Heartbeat  Point = "heartbeat"     // of the group, or to confirm the membership
	Leave      Point = "leave"         // LeaveGroup
	Find       Point = "find"          // FindCoordinator
	Metadata   Point = "metadata"      // leaders
	Other      Point = "other request" // versions, settings
)

// view is what one replica's requests say of its state. It is safe for
// concurrent use.
type view struct {
	mu       sync.Mutex
	fencing  map[string]Point    // by transactional id: the next step of a takeover
	leases   map[partition]int64 // as committed last
	stopping bool
}

type partition struct {
	topic string
	id    int32
}

func newView() *view { return &view{fencing: map[string]Point{}, leases: map[partition]int64{}} }

// point classifies a request.
func (v *view) point(outcomes string, r kmsg.Request) Point {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch r := r.(type) {
	case *kmsg.ProduceRequest:
		return Append
	case *kmsg.OffsetCommitRequest:
		return v.commit(r)
	case *kmsg.InitProducerIDRequest:
		v.fencing[*r.TransactionalID] = Add
		return Init
	case *kmsg.AddPartitionsToTxnRequest:
		return v.step(r.TransactionalID, Add, End)
	case *kmsg.EndTxnRequest:
		if v.fencing[r.TransactionalID] == Barrier {
			return Barrier
		}
		return v.step(r.TransactionalID, End, Barrier)
	case *kmsg.FetchRequest:
		if len(r.Topics) == 1 && r.Topics[0].Topic == outcomes {
			return Replay
		}
		return Fetch
	}
	return byKey[kmsg.Key(r.Key())]
}

var byKey = map[kmsg.Key]Point{
	kmsg.OffsetFetch: CommitRead, kmsg.ListOffsets: Bounds, kmsg.JoinGroup: Join, kmsg.SyncGroup: Sync, kmsg.Heartbeat: Heartbeat,
	kmsg.LeaveGroup: Leave, kmsg.FindCoordinator: Find, kmsg.Metadata: Metadata,
	kmsg.ApiVersions: Other, kmsg.DescribeConfigs: Other,
}

// step is a request of an empty transaction: of a takeover if Init came before.
func (v *view) step(txID string, is, next Point) Point {
	if at, ok := v.fencing[txID]; !ok || at == Barrier && is == Add { // a takeover ended with its first Barrier
		delete(v.fencing, txID)
		return Proof
	}
	v.fencing[txID] = next
	return is
}

func (v *view) commit(r *kmsg.OffsetCommitRequest) Point {
	point := Commit
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			var m struct {
				Lease int64
				Clean bool
			}
			if p.Metadata == nil || json.Unmarshal([]byte(*p.Metadata), &m) != nil {
				continue
			}
			at := partition{t.Topic, p.Partition}
			before, known := v.leases[at]
			v.leases[at] = m.Lease
			switch {
			case m.Clean || v.stopping || known && m.Lease < before:
				point = LastCommit
			case point == Commit && m.Lease >= 0 && (!known || m.Lease > before):
				point = Lease
			}
		}
	}
	return point
}

// stop notes that the process was told to stop: its commits are the last ones.
func (v *view) stop() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.stopping = true
}

func (v *view) isStopping() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.stopping
}
