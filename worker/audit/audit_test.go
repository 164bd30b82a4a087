package audit

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"smscancel/worker"
)

const cluster = "cluster"

func record(partition int, offset int64) *worker.Record {
	id := fmt.Sprintf("m%d-%d", partition, offset)
	return &worker.Record{Topic: "r", Partition: partition, Offset: offset, Timestamp: time.UnixMilli(1_800_000_000_000 + offset), Key: []byte(id),
		Value: fmt.Appendf(nil, `{"umid":%q,"subAccountId":"acme_shop"}`, id)}
}

// read is what the audit takes from the outcome of a request.
func read(t *testing.T, a *Audit, rec *worker.Record) *Outcome {
	req, err := worker.Parser{}.Parse(rec)
	assert.NoError(t, err)
	o := worker.NewOutcome(rec, req, cluster)
	o.Status = worker.StatusCancelled
	n := len(a.ledgers)
	return a.Read(o, rec.Partition%n, rec.Offset, o.Key, Header{n, rec.Topic, rec.Partition, rec.ID()}, nil)
}

// Requests and their outcomes cost nine bytes each, whatever they say.
func TestAnAuditKeepsAFewBytesOfARequest(t *testing.T) {
	const n = 1 << 17
	a := New(cluster, []Source{{Topic: "r", End: n, Committed: n}}, make([]Ledger, 1))
	before := heap()
	for offset := range int64(n) {
		rec := record(0, offset)
		a.Request(rec)
		if offset%64 == 7 { // a sample: each takes as much as any
			a.Outcome(read(t, a, rec))
		}
	}
	assert.Less(t, float64(heap()-before)/n, 11.0, "bytes of a request")
	report := a.Finish()
	assert.EqualValues(t, n, report.Requests)
	assert.EqualValues(t, n-n/64, report.Count[Lost])
	assert.Len(t, report.Findings, MaxListed)
	runtime.KeepAlive(a)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestRequestsOfTheFutureAndHostileSourcesAreNoTrouble(t *testing.T) {
	a := New(cluster, []Source{{Topic: "r", First: 5, End: 10, Committed: 10}, {Topic: "r", Partition: 1, First: 0, End: 1, Committed: -1}}, make([]Ledger, 2))
	for offset := int64(5); offset < 12; offset++ {
		a.Request(record(0, offset))
		a.Outcome(read(t, a, record(0, offset)))
	}
	for _, at := range []struct {
		partition int
		offset    int64
	}{{0, -1}, {-1, 0}, {2, 0}, {1, 0}, {1 << 40, 1 << 62}} {
		a.Outcome(read(t, a, record(at.partition&1, at.offset)).at(at.partition))
	}
	report := a.Finish()
	assert.EqualValues(t, 2, report.Later)
	assert.EqualValues(t, 5, report.Count[Foreign])
	assert.EqualValues(t, 5, report.Requests)
	assert.Zero(t, report.Count[Second]+report.Count[Lost]+report.Count[Pending])
}

// at moves an outcome to another source partition.
func (o *Outcome) at(partition int) *Outcome {
	o.Source = partition
	return o
}

func TestTopicsThatAreNotReadAreToldApartUpToABound(t *testing.T) {
	a := New(cluster, nil, make([]Ledger, 1))
	for i := range 3 * maxElsewhere {
		rec := record(0, int64(i))
		rec.Topic = fmt.Sprint("t", i)
		a.Outcome(read(t, a, rec))
	}
	report := a.Finish()
	assert.Len(t, report.Elsewhere, maxElsewhere)
	assert.EqualValues(t, 2*maxElsewhere, report.Count[Foreign])
}
