package integration

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
	"smscancel/worker"
)

// requestCase is a record and what must become of it.
type requestCase struct {
	name    string
	key     string
	value   []byte
	headers []kgo.RecordHeader
	request string // the request in it, if it is a valid one
	want    want
}

// want is how a request must end. A count of -1 means that there is none.
type want struct {
	status     worker.Status
	count      int
	kind       worker.Kind
	code       int
	httpStatus int
	message    string // of the error, its beginning
	answeredBy string // name of the case whose call answers this one
	requestID  string // where it is not the default
}

var (
	cancelled = want{status: worker.StatusCancelled, count: 1}
	twoTraces = [2]string{"0af7651916cd43dd8448eb211c80319c", "4bf92f3577b34da6a3ce929d0e0e4736"}
)

func rejected(message string) want {
	return want{status: worker.StatusRejected, count: -1, kind: worker.KindInvalidRequest, message: message}
}

func failed(kind worker.Kind, httpStatus, code int) want {
	return want{status: worker.StatusFailed, count: -1, kind: kind, httpStatus: httpStatus, code: code}
}

// plain is a case of a request without an envelope.
func plain(name, id, format string, args ...any) requestCase {
	request := fmt.Sprintf(format, args...)
	return requestCase{name: name, key: strings.ToLower(id), value: []byte(request), request: request, want: cancelled}
}

func (c requestCase) ends(w want) requestCase {
	c.want = w
	return c
}

func (c requestCase) with(headers ...string) requestCase {
	for i := 0; i < len(headers); i += 2 {
		c.headers = append(c.headers, kgo.RecordHeader{Key: headers[i], Value: []byte(headers[i+1])})
	}
	return c
}

// structured wraps a case's request into a CloudEvent that is the whole value.
func (c requestCase) structured(data string) requestCase {
	c.value = fmt.Appendf(nil, `{"specversion":"1.0","id":"event-of-%s","source":"/shop","type":"cancel","traceparent":"00-%s-00f067aa0ba902b7-01",%s}`,
		c.key, twoTraces[1], data)
	c.want.requestID = "event-of-" + c.key
	return c.with("content-type", "application/cloudevents+json; charset=UTF-8")
}

// invalid is a case of a record that is no valid request.
func invalid(name, key string, value []byte, message string) requestCase {
	return requestCase{name: name, key: key, value: value, want: rejected(message)}
}

// world of the cases: what the API knows.
const (
	unknownID, sentID, forbiddenID = 404, 410, 403
	batchID                        = "0b000000-0000-4000-8000-00000000000b"
	otherAccount                   = "someone_else"
)

func requestScenario() *simulator.Scenario {
	return &simulator.Scenario{
		Messages: map[string]simulator.MessageRule{
			umid(unknownID):   {State: simulator.Unknown},
			umid(sentID):      {State: simulator.Sent},
			umid(forbiddenID): {Answers: []simulator.Answer{{Status: 403, Repeat: 10}}},
		},
		Batches:     map[string]simulator.MessageRule{batchID: {Size: 7}},
		SubAccounts: map[string]simulator.SubAccountRule{otherAccount: {Foreign: true}},
	}
}

// firstCases are settled before secondCases are published.
func firstCases() []requestCase {
	everything := `{"umid":%q,"subAccountId":"acme_shop","requestId":"order-1","requestedAt":"2026-01-30T17:21:09Z","scheduledAt":"2099-01-31T09:00:00+01:00",` +
		`"campaignId":"spring","reason":"booking dropped","metadata":{"orderId":"4711"},"force":false,"laterField":[1]}`
	inBase64 := fmt.Sprintf(`{"umid":%q,"subAccountId":"acme_shop"}`, umid(5))
	full := cancelled
	full.requestID = "order-1"
	binary := cancelled
	binary.requestID = "event-3"
	return []requestCase{
		plain("plain", umid(1), `{"umid":%q,"subAccountId":"acme_shop"}`, umid(1)),
		plain("everything, id in upper case", umid(0xabc), everything, strings.ToUpper(umid(0xabc))).ends(full).
			with("traceparent", "00-"+twoTraces[0]+"-b7ad6b7169203331-01", "tracestate", "shop=1"),
		plain("CloudEvent, binary", umid(3), `{"umid":%q,"subAccountId":"acme_shop"}`, umid(3)).ends(binary).
			with("ce_specversion", "1.0", "ce_id", "event-3", "ce_source", "/shop", "ce_type", "cancel", "content-type", "application/json"),
		plain("CloudEvent, structured", umid(4), `{"umid":%q,"subAccountId":"acme_shop"}`, umid(4)).
			structured(fmt.Sprintf(`"datacontenttype":"application/json","data":{"umid":%q,"subAccountId":"acme_shop"}`, umid(4))),
		plain("CloudEvent, structured, base64", umid(5), "%s", inBase64).
			structured(fmt.Sprintf(`"data_base64":%q`, base64.StdEncoding.EncodeToString([]byte(inBase64)))),
		plain("batch", batchID, `{"batchId":%q,"subAccountId":"acme_shop"}`, batchID).ends(want{status: worker.StatusCancelled, count: 7}),
		plain("default sub-account", umid(7), `{"umid":%q}`, umid(7)),
		plain("sent already", umid(sentID), `{"umid":%q,"subAccountId":"acme_shop"}`, umid(sentID)).
			ends(want{status: worker.StatusNotCancelled, count: 0}),
		plain("expired", umid(9), `{"umid":%q,"subAccountId":"acme_shop","scheduledAt":"2020-01-01T00:00:00Z"}`, umid(9)).
			ends(want{status: worker.StatusExpired, count: -1}),
		plain("404", umid(unknownID), `{"umid":%q,"subAccountId":"acme_shop"}`, umid(unknownID)).ends(failed(worker.KindNotFound, 404, 1300)),
		plain("400", "no-uuid", `{"umid":"no-UUID","subAccountId":"acme_shop"}`).ends(failed(worker.KindInvalidRequest, 400, 1000)),
		plain("401 with 1001", umid(12), `{"umid":%q,"subAccountId":%q}`, umid(12), otherAccount).ends(failed(worker.KindUnauthorized, 401, 1001)),
		plain("403", umid(forbiddenID), `{"umid":%q,"subAccountId":"acme_shop"}`, umid(forbiddenID)).ends(failed(worker.KindForbidden, 403, 1201)),
		invalid("null value", umid(20), nil, "value: is null"),
		invalid("bad JSON", umid(21), []byte(`{"umid":"`), "value: "),
		invalid("100 KiB", umid(22), fmt.Appendf(nil, `{"umid":%q,"subAccountId":"acme_shop","note":"%s"}`, umid(22), strings.Repeat("x", 100<<10)), "value: has "),
		invalid("missing field", umid(23), []byte(`{"subAccountId":"acme_shop"}`), "umid: is missing"),
		invalid("bad time", umid(24), fmt.Appendf(nil, `{"umid":%q,"subAccountId":"acme_shop","scheduledAt":"tomorrow"}`, umid(24)), "scheduledAt: "),
		invalid("no key", "", []byte(`[]`), "value: "),
		invalid("long key", strings.Repeat("k", 2000), []byte(`"text"`), "value: "),
		invalid("bytes that are no text", umid(27), []byte{0xff, 0xfe, 0x00}, "value: "),
	}
}

func secondCases() []requestCase {
	return []requestCase{
		plain("duplicate", umid(1), `{"umid":%q,"subAccountId":"acme_shop","requestId":"again"}`, umid(1)).
			ends(want{status: worker.StatusDuplicate, count: 1, answeredBy: "plain", requestID: "again"}),
		plain("duplicate in another case", umid(0xabc), `{"umid":%q,"subAccountId":"acme_shop"}`, umid(0xabc)).
			ends(want{status: worker.StatusDuplicate, count: 1, answeredBy: "everything, id in upper case"}),
		plain("duplicate of a batch", batchID, `{"batchId":%q,"subAccountId":"acme_shop"}`, batchID).
			ends(want{status: worker.StatusDuplicate, count: 7, answeredBy: "batch"}),
		plain("duplicate that names the default", umid(7), `{"umid":%q,"subAccountId":"acme_default"}`, umid(7)).
			ends(want{status: worker.StatusDuplicate, count: 1, answeredBy: "default sub-account"}),
		plain("duplicate of a 400", "no-uuid", `{"umid":"no-uuid","subAccountId":"acme_shop"}`).
			ends(want{status: worker.StatusDuplicate, count: -1, kind: worker.KindInvalidRequest, httpStatus: 400, code: 1000, answeredBy: "400"}),
		plain("force", umid(3), `{"umid":%q,"subAccountId":"acme_shop","force":true}`, umid(3)).
			ends(want{status: worker.StatusNotCancelled, count: 0}),
		plain("duplicate after force", umid(3), `{"umid":%q,"subAccountId":"acme_shop"}`, umid(3)).
			ends(want{status: worker.StatusDuplicate, count: 0, answeredBy: "force"}),
		plain("a 404 is asked again", umid(unknownID), `{"umid":%q,"subAccountId":"acme_shop"}`, umid(unknownID)).
			ends(failed(worker.KindNotFound, 404, 1300)),
		plain("of another sub-account", umid(4), `{"umid":%q,"subAccountId":"other_shop"}`, umid(4)).
			ends(want{status: worker.StatusNotCancelled, count: 0}), // the API knows that it was cancelled
	}
}

// Promise: every kind of record has the outcome that belongs to it, in the
// published form, in partition p mod N, here with N smaller than the request
// topic's partitions.
func TestEveryKindOfRequestHasItsOutcome(t *testing.T) {
	kafkatest.Require(t)
	const parts, n = 5, 3
	cluster := kafkatest.Shared(t)
	w := newWorld(t, cluster, parts, simulator.Options{Scenario: requestScenario()})
	w.outcomes += ".narrow"
	w.n = n
	cluster.CreateTopic(w.outcomes, n, map[string]string{"retention.ms": "1209600000", "message.timestamp.type": "LogAppendTime"})
	r := w.start("worker", "--default-sub-account", "acme_default")
	w.waitRunning(r)
	names := map[string]place{}
	cases := map[place]requestCase{}
	for _, phase := range [][]requestCase{firstCases(), secondCases()} {
		records := make([]*kgo.Record, len(phase))
		for i, c := range phase {
			records[i] = &kgo.Record{Topic: w.requests, Value: c.value, Headers: c.headers}
			if c.key != "" {
				records[i].Key = []byte(c.key)
			}
		}
		w.produce(w.client(), records...)
		for i, c := range phase {
			names[c.name], cases[at(records[i])] = at(records[i]), c
		}
		w.waitForOutcomes(len(cases))
	}
	r.stop()
	outcomes := w.readOutcomes()
	partitions := map[int32]bool{}
	for at, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := outcomes[at]
			if f.outcome == nil {
				t.Fatalf("no outcome of %+v", at)
			}
			partitions[f.record.Partition] = true
			c.check(t, f, outcomes[names[c.want.answeredBy]])
			c.checkForm(t, f)
			if calls := callsSince(w, f); f.outcome.Attempts > calls {
				t.Errorf("%d attempts, the API saw %d calls", f.outcome.Attempts, calls)
			}
		})
	}
	if len(partitions) != n {
		t.Errorf("outcomes stand in %d partitions of %d: the cases prove nothing about p mod N", len(partitions), n)
	}
	w.audit()
}

// callsSince counts the calls for an outcome's target.
func callsSince(w *world, f found) int {
	return len(w.sim.CallsOf(f.outcome.UMID + f.outcome.BatchID))
}

// check compares an outcome with what the case wants.
func (c requestCase) check(t *testing.T, f, answer found) {
	t.Helper()
	o := f.outcome
	got := want{status: o.Status, count: -1, message: c.want.message, answeredBy: c.want.answeredBy, requestID: c.want.requestID}
	if o.CancelledCount != nil {
		got.count = *o.CancelledCount
	}
	if o.Error != nil {
		got.kind, got.httpStatus = o.Error.Kind, o.Error.HTTPStatus
		if o.Error.Code != nil {
			got.code = *o.Error.Code
		}
		if !strings.HasPrefix(o.Error.Message, c.want.message) {
			t.Errorf("error says %q, want %q", o.Error.Message, c.want.message)
		}
	}
	if got != c.want {
		t.Errorf("got %+v, want %+v: %s", got, c.want, f.record.Value)
	}
	if id := c.requestID(f); o.RequestID != id {
		t.Errorf("requestId %q, want %q", o.RequestID, id)
	}
	switch {
	case c.want.answeredBy == "" && o.DuplicateOf != "":
		t.Errorf("is a duplicate of %s", o.DuplicateOf)
	case c.want.answeredBy != "" && o.DuplicateOf != answer.outcome.OutcomeID:
		t.Errorf("duplicateOf %s, %q has %s", o.DuplicateOf, c.want.answeredBy, answer.outcome.OutcomeID)
	}
	if o.Ambiguous {
		t.Error("is ambiguous")
	}
}

func (c requestCase) requestID(f found) string {
	if c.want.requestID != "" {
		return c.want.requestID
	}
	s := f.outcome.Source
	return fmt.Sprintf("%s/%d/%d", s.Topic, s.Partition, s.Offset)
}

// checkForm checks that request and outcome are what is published about them.
func (c requestCase) checkForm(t *testing.T, f found) {
	t.Helper()
	if err := validate("cancel-outcome", f.record.Value); err != nil {
		t.Errorf("outcome: %v\n%s", err, f.record.Value)
	}
	if c.request != "" {
		if err := validate("cancel-request", []byte(c.request)); err != nil {
			t.Errorf("request: %v\n%s", err, c.request)
		}
	}
	c.checkKey(t, f)
	c.checkHeaders(t, f)
}

// checkKey: the id of what was asked for; of a rejected record its own key.
func (c requestCase) checkKey(t *testing.T, f found) {
	t.Helper()
	key, kept := c.key, []byte(nil)
	if len(key) > 1<<10 {
		key, kept = "", []byte(key[:1<<10])
	}
	if string(f.record.Key) != key || (f.record.Key == nil) != (key == "") {
		t.Errorf("key %q, want %q", f.record.Key, key)
	}
	if !bytes.Equal(f.outcome.Source.Key, kept) {
		t.Errorf("source.key is %q, want %q", f.outcome.Source.Key, kept)
	}
	if c.want.status != worker.StatusRejected {
		return
	}
	value := c.value[:min(len(c.value), 16<<10)]
	if !bytes.Equal(f.outcome.Source.Value, value) || f.outcome.Source.Truncated != (len(c.value) > len(value)) {
		t.Errorf("source keeps %d bytes of %d (truncated: %t)", len(f.outcome.Source.Value), len(c.value), f.outcome.Source.Truncated)
	}
}

// checkHeaders: a CloudEvent in binary mode that continues the request's trace.
func (c requestCase) checkHeaders(t *testing.T, f found) {
	t.Helper()
	o, headers := f.outcome, map[string]string{}
	for _, h := range f.record.Headers {
		headers[h.Key] = string(h.Value)
	}
	for name, value := range map[string]string{
		"content-type": "application/json", "ce_specversion": "1.0", "ce_type": "com.8x8.sms.cancel.outcome.v1",
		"ce_id": o.OutcomeID, "ce_time": o.CompletedAt, "ce_source": "smscancel/" + url.PathEscape(o.Source.Topic),
		"ce_subject": o.UMID + o.BatchID,
	} {
		if headers[name] != value {
			t.Errorf("header %s is %q, want %q", name, headers[name], value)
		}
	}
	for _, trace := range twoTraces {
		asked := bytes.Contains(c.value, []byte(trace))
		for _, h := range c.headers {
			asked = asked || strings.Contains(string(h.Value), trace)
		}
		if strings.Contains(headers["traceparent"], trace) != asked {
			t.Errorf("traceparent is %q, the request has the trace %s: %t", headers["traceparent"], trace, asked)
		}
	}
}

// validate checks a JSON text against a published schema as the strictest
// reader would.
func validate(name string, text []byte) error {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.AssertContent()
	schema, err := c.Compile(filepath.Join("..", "deploy", "schemas", name+".schema.json"))
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return schema.Validate(v)
}
