package integration

import (
	varint "encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
	"smscancel/worker"
)

// Fault: outcomes come near and above the outcome topic's max.message.bytes.
// Promise: 41 requests, each with one byte of metadata more than the one before
// it, have an outcome each; those up to exactly the limit are whole, those above
// it lose their metadata. A rejected record loses its value first, and its
// metadata only where that is not enough. The log says so for each.
func TestAnOutcomeAboveTheTopicsLimitLosesItsLargestParts(t *testing.T) {
	kafkatest.Require(t)
	const limit, around = 4_000, 20
	w := newWorld(t, kafkatest.Shared(t), 1, simulator.Options{})
	w.limitOutcomes(limit)
	r := w.start("worker")
	w.waitRunning(r)
	w.produce(w.client(), w.withNote(0, 100))
	w.waitForOutcomes(1)
	base := batchSize(readTopic(t, w.brokers, w.outcomes)[0]) - 100
	for n := limit - base - around; n <= limit-base+around; n++ {
		w.produce(w.client(), w.withNote(n, n))
	}
	fat := fmt.Sprintf(`{"subAccountId":"acme_shop","metadata":{"note":%q},"umid":%s}`, strings.Repeat("m", 3_500), strings.Repeat(" ", 1_000))
	w.produce(w.client(), &kgo.Record{Topic: w.requests, Value: []byte(strings.Repeat("{", 5_000))}, &kgo.Record{Topic: w.requests, Value: []byte(fat)})
	const total = 1 + 2*around + 1 + 2
	w.waitForOutcomes(total)
	r.stop()

	whole, largest, shrunk := 0, 0, 0
	for _, record := range readTopic(t, w.brokers, w.outcomes) {
		o := w.checkRecord(record)
		switch {
		case o.Status == worker.StatusRejected:
			shrunk++
			if o.Source.Value != nil || !o.Source.Truncated {
				t.Errorf("a rejected record keeps %d bytes of its value, truncated %t", len(o.Source.Value), o.Source.Truncated)
			}
		case o.Metadata == nil:
			shrunk++
			if size := batchSize(record) + sizeOfNote(o); size <= limit {
				t.Errorf("an outcome lost its metadata that would have made a batch of %d bytes; the topic takes %d", size, limit)
			}
		default:
			whole++
			largest = max(largest, batchSize(record))
		}
	}
	if largest != limit {
		t.Errorf("the largest whole outcome makes a batch of %d bytes, the topic takes %d", largest, limit)
	}
	if whole < around || shrunk < around {
		t.Errorf("%d whole, %d shrunk: not around the limit", whole, shrunk)
	}
	if said := r.logged("outcome too large for the topic's max.message.bytes"); said < shrunk {
		t.Errorf("the log speaks of %d outcomes, %d have lost something", said, shrunk)
	}
	w.setup.MaxOutcomeBytes = limit
	w.audit()
}

// Fault: the outcome topic's limit is lowered while requests flow, so that
// batches of many outcomes do not fit any more; then so far that no outcome does;
// then it is raised again. Promise: of 3,000 requests each has its one outcome and
// one call; where nothing fits, no further call is made, the worker is unready and
// says why, and it goes on by itself.
func TestALimitLoweredUnderARunningWorkerRepeatsNoCall(t *testing.T) {
	kafkatest.Require(t)
	const total = 3_000
	w := newWorld(t, kafkatest.Shared(t), 2, simulator.Options{})
	r := w.start("worker", "--concurrency", "200")
	w.waitRunning(r)
	w.limitOutcomes(3_000)
	w.ask(0, total/2)
	w.waitForOutcomes(total / 2)
	if r.logged("batch too large for the topic's max.message.bytes") == 0 {
		t.Error("no batch was too large: the test proves nothing")
	}
	w.limitOutcomes(200)
	w.ask(total/2, total/2)
	w.waitUnready(r, "outcomes are not acknowledged", "too large for topic "+w.outcomes, "raise its max.message.bytes")
	calls := len(w.sim.Calls())
	w.ask(total, 10)
	w.eventually("the new requests to be read", func() error {
		s, err := r.status()
		if err == nil && s.Partitions[0].End+s.Partitions[1].End != total+10 {
			err = errNotYet
		}
		return err
	})
	if n := len(w.sim.Calls()); n != calls {
		t.Errorf("%d calls while no outcome can be written", n-calls)
	}
	w.limitOutcomes(1 << 20)
	w.waitForOutcomes(total + 10)
	w.waitReady(r)
	r.stop()
	if found := w.audit(); found.calls != total+10 || found.unclear != 0 {
		t.Errorf("%d calls for %d messages, %d ambiguous", found.calls, total+10, found.unclear)
	}
}

// limitOutcomes sets max.message.bytes of the outcome topic.
func (w *world) limitOutcomes(bytes int) {
	w.t.Helper()
	w.configure(w.outcomes, "max.message.bytes", strconv.Itoa(bytes))
}

// configure changes a setting of a topic and returns when the broker heeds it.
func (w *world) configure(topic, name, value string) {
	w.t.Helper()
	_, err := w.admin().AlterTopicConfigs(within(w.t), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: name, Value: &value}}, topic)
	if err != nil {
		w.t.Fatalf("set %s of %s: %v", name, topic, err)
	}
	w.eventually("the setting", func() error {
		described, err := w.admin().DescribeTopicConfigs(within(w.t), topic)
		if err != nil {
			return err
		}
		for _, c := range described[0].Configs {
			if c.Key == name && c.MaybeValue() == value {
				return nil
			}
		}
		return errNotYet
	})
}

// withNote is the n-th message's request, with metadata of so many bytes.
func (w *world) withNote(n, bytes int) *kgo.Record {
	return &kgo.Record{Topic: w.requests, Key: []byte(umid(n)), Value: fmt.Appendf(nil,
		`{"umid":%q,"subAccountId":"acme_shop","requestId":"r","metadata":{"note":%q}}`, umid(n), strings.Repeat("m", bytes))}
}

// sizeOfNote is how many bytes longer an outcome would be with the metadata that
// withNote gave to its message.
func sizeOfNote(o *worker.Outcome) int {
	var n int
	if _, err := fmt.Sscanf(o.UMID, "%08x", &n); err != nil {
		return 0
	}
	return len(`"metadata":{"note":""},`) + n
}

// batchSize is how large a batch is that holds one record and nothing else, as
// the broker counts it (https://kafka.apache.org/documentation/#recordbatch).
func batchSize(r *kgo.Record) int {
	field := func(bytes []byte) int { return len(varint.AppendVarint(nil, int64(len(bytes)))) + len(bytes) }
	size := 1 + 1 + 1 + field(r.Key) + field(r.Value) + len(varint.AppendVarint(nil, int64(len(r.Headers))))
	for _, h := range r.Headers {
		size += field([]byte(h.Key)) + field(h.Value)
	}
	return 61 + len(varint.AppendVarint(nil, int64(size))) + size
}
