package schedule

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/segmentio/kafka-go"

	"smscancel/integration/simulator"
)

var subAccounts = []string{"acme_shop", "acme_bank", "Zoo.mart&co"}

// campaign is that of the requests that have one.
const campaign = "autumn"

// requests draws the records to publish, in bursts. About a third is about a
// message that was asked for before.
func (d *draw) requests(p *Plan) []Request {
	total := one(d, 100+d.IntN(200), 200+d.IntN(300), 200+d.IntN(300), 1000+d.IntN(1000))
	w := &workload{draw: d, plan: p, messages: map[string]simulator.MessageRule{}}
	for len(w.all) < total {
		at, from := d.between(0, p.Length), len(w.all)
		for range min(1+d.IntN(one(d, 3, 30, 300)), total-len(w.all)) {
			w.add(at)
		}
		if d.chance(.08) {
			w.transact(w.all[from:], d.chance(.5))
		}
	}
	p.Setting.Messages = w.messages
	return sortedByTime(w.all)
}

type workload struct {
	*draw
	plan     *Plan
	all      []Request
	ids      []string
	messages map[string]simulator.MessageRule

	transactions int
}

func (w *workload) add(at time.Duration) {
	fields := map[string]any{}
	id := w.id()
	field := "umid"
	if w.chance(.04) {
		field = "batchId"
	}
	fields[field] = id
	if w.plan.Setting.DefaultSubAccount == "" || w.chance(.7) {
		fields["subAccountId"] = subAccounts[min(w.IntN(6), len(subAccounts)-1)]
	}
	w.decorate(fields, at)
	value, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	r := Request{At: at, Topic: w.IntN(w.plan.Setting.Topics), Key: []byte(strings.ToLower(id)), Value: value}
	if w.chance(.04) {
		r.Value = w.spoil(value)
	}
	if w.chance(.02) {
		r.Key = one(w.draw, nil, []byte("another key"))
	}
	r.Partition = w.partition(r.Key)
	if w.chance(.06) {
		none := bubbleStart.Add(at).Sub(time.UnixMilli(-1)) // the timestamp -1 says that there is none
		r.Timestamp = one(w.draw, time.Hour, -time.Hour, 40*24*time.Hour, -400*24*time.Hour, none)
	}
	n := len(w.all) + 1
	w.wrap(&r, n)
	r.Headers = append(r.Headers, [2]string{"traceparent", fmt.Sprintf("00-%016x%016x-%016x-01", w.plan.Seed|1<<63, n, n)})
	w.all = append(w.all, r)
}

// wrap makes some requests CloudEvents, in binary or in structured mode.
func (w *workload) wrap(r *Request, n int) {
	switch {
	case w.chance(.94) || !json.Valid(r.Value):
	case w.chance(.5):
		r.Headers = append(r.Headers, [2]string{"ce_specversion", "1.0"}, [2]string{"ce_type", "shop.order.dropped"}, [2]string{"ce_source", "/shop"},
			[2]string{"ce_id", fmt.Sprint("event-", n)}, [2]string{"content-type", "application/json"})
	default:
		r.Value = fmt.Appendf(nil, `{"specversion":"1.0","type":"shop.order.dropped","source":"/shop","id":"event-%d","datacontenttype":"application/json","data":%s}`, n, r.Value)
		r.Headers = append(r.Headers, [2]string{"content-type", "application/cloudevents+json"})
	}
}

// transact makes a burst one transaction.
func (w *workload) transact(burst []Request, abort bool) {
	w.transactions++
	for i := range burst {
		burst[i].Transaction, burst[i].Abort = w.transactions, abort
	}
}

// id is a new one, or one that was asked for before, in another case perhaps.
func (w *workload) id() string {
	if len(w.ids) > 0 && w.chance(.35) {
		id := w.ids[w.IntN(len(w.ids))]
		if w.chance(.3) {
			return strings.ToUpper(id)
		}
		return id
	}
	var raw [16]byte
	for i := range raw {
		raw[i] = byte(w.Uint32())
	}
	id := uuid.UUID(raw).String()
	if w.chance(.02) {
		id = "not-a-uuid-" + id[:8] // for the API to judge
	}
	if w.chance(.05) {
		w.messages[id] = simulator.MessageRule{State: one(w.draw, simulator.Sent, simulator.Cancelled, simulator.Unknown)}
	}
	w.ids = append(w.ids, id)
	return id
}

func (w *workload) decorate(fields map[string]any, at time.Duration) {
	if w.chance(.04) {
		fields["force"] = true
	}
	if w.chance(.06) {
		fields["scheduledAt"] = bubbleStart.Add(at + w.between(-5*time.Second, time.Minute)).Format(time.RFC3339Nano)
	}
	if w.chance(.1) {
		fields["requestId"] = fmt.Sprintf("order-%d", w.IntN(1000))
		fields["campaignId"], fields["reason"] = campaign, "dropped"
		fields["metadata"] = map[string]string{"order": strings.Repeat("x", w.IntN(2000))}
	}
}

// spoil makes a request invalid.
func (w *workload) spoil(value []byte) []byte {
	return one(w.draw, nil, []byte("{"), value[:len(value)/2], []byte(`{"umid":"..","subAccountId":"acme_shop"}`), []byte(`[]`),
		[]byte(`{"umid":"`+strings.Repeat("a", 70_000)+`"}`), append([]byte(`{"umid":"twice",`), value[1:]...), append(value, "trailing"...))
}

// bubbleStart is when virtual time begins.
var bubbleStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

var murmur2 = kafka.Murmur2Balancer{Consistent: true}

func (w *workload) partition(key []byte) int {
	n := w.plan.Setting.Partitions
	if w.chance(.02) {
		return w.IntN(n)
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return murmur2.Balance(kafka.Message{Key: key}, all...)
}
