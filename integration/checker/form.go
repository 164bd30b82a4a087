package checker

import (
	"bytes"
	"fmt"
	"maps"
	"strings"

	"smscancel/worker"
)

// What a rejected record leaves in its outcome, in bytes (spec: "Outcome").
const (
	keptValue = 16 << 10
	keptKey   = 1 << 10
)

// checkForm holds an outcome against the record that it belongs to.
func (c *check) checkForm(rec *Record, got *worker.Outcome, o *outcome) {
	from := &c.run.Requests[o.request]
	setup := &c.run.Setup
	if n := from.Partition % max(setup.N, 1); rec.Partition != n {
		c.violated(WrongPartition, o.request, "its outcome stands in partition %d, not %d", rec.Partition, n)
	}
	if id := worker.OutcomeID(setup.ClusterID, from.Topic, from.Partition, from.Offset, from.Timestamp); got.OutcomeID != id || header(rec, "ce_id") != id {
		c.violated(WrongID, o.request, "its outcome has the id %s, as a CloudEvent %s, not %s", got.OutcomeID, header(rec, "ce_id"), id)
	}
	req, rejection := c.parse(from)
	if (rejection != nil) != (got.Status == worker.StatusRejected) {
		c.violated(WrongRejection, o.request, "its outcome is %s, and the record is invalid for %v", got.Status, rejection)
		return
	}
	c.checkHeader(rec, got, o)
	if rejection != nil {
		c.checkRejected(rec, from, got, rejection, o)
		return
	}
	if key := strings.ToLower(got.UMID + got.BatchID); string(rec.Key) != key || key != req.Target.Key() {
		c.violated(WrongKey, o.request, "its outcome has the key %q, not %q", rec.Key, req.Target.Key())
	}
	c.checkEcho(rec, from, got, req, o)
	if got.Source.Value != nil || got.Source.Key != nil || got.Source.Truncated {
		c.violated(WrongEcho, o.request, "its outcome keeps the record though it is a valid request")
	}
}

// header is the value of a record's header, the last of its name.
func header(rec *Record, name string) string {
	for i := len(rec.Headers) - 1; i >= 0; i-- {
		if rec.Headers[i].Key == name {
			return string(rec.Headers[i].Value)
		}
	}
	return ""
}

// checkEcho compares what an outcome repeats with what the request said; of an
// invalid one every field that is valid.
func (c *check) checkEcho(rec, from *Record, got *worker.Outcome, req *worker.Request, o *outcome) {
	umid, batch := req.ID, ""
	if req.Batch {
		umid, batch = "", req.ID
	}
	requestID := req.RequestID
	if requestID == "" {
		requestID = placeOf(from).String()
	}
	for _, f := range []struct{ name, got, want string }{
		{"requestId", got.RequestID, requestID}, {"subAccountId", got.SubAccountID, req.SubAccountID},
		{"umid", got.UMID, umid}, {"batchId", got.BatchID, batch}, {"campaignId", got.CampaignID, req.CampaignID},
		{"reason", got.Reason, req.Reason}, {"requestedAt", got.RequestedAt, req.RequestedAt}, {"scheduledAt", got.ScheduledAt, req.ScheduledAt},
		{"source.timestamp", got.Source.Timestamp, worker.FormatTime(from.Timestamp)},
		{"traceparent", traceOf(header(rec, "traceparent")), traceOf(req.TraceParent)},
	} {
		if f.got != strings.ToValidUTF8(f.want, "\uFFFD") {
			c.violated(WrongEcho, o.request, "the %s of its outcome is %q, the request has %q", f.name, f.got, f.want)
		}
	}
	if !maps.Equal(got.Metadata, req.Metadata) && !(got.Metadata == nil && c.mayLeaveOut(rec, len(fmt.Sprint(req.Metadata)))) {
		c.violated(WrongEcho, o.request, "the metadata of its outcome is %v, the request has %v", got.Metadata, req.Metadata)
	}
}

// mayLeaveOut tells whether an outcome can have been too large for the topic
// with the bytes that it lacks.
func (c *check) mayLeaveOut(rec *Record, lacks int) bool {
	size := len(rec.Key) + len(rec.Value) + lacks
	for _, h := range rec.Headers {
		size += len(h.Key) + len(h.Value)
	}
	limit := c.run.Setup.MaxOutcomeBytes
	return limit > 0 && size+smallParts > limit
}

// smallParts is how much a record may grow by lengths, escapes and the batch's header.
const smallParts = 512

func (c *check) checkRejected(rec, from *Record, got *worker.Outcome, rejection *worker.Rejection, o *outcome) {
	partial := rejection.Partial
	if partial == nil {
		partial = &worker.Request{}
	}
	c.checkEcho(rec, from, got, partial, o)
	key, kept := from.Key, []byte(nil)
	if len(key) > keptKey {
		key, kept = nil, key[:keptKey]
	}
	if !bytes.Equal(rec.Key, key) || !bytes.Equal(got.Source.Key, kept) {
		c.violated(WrongKey, o.request, "its outcome has the key %q and keeps %q, the record's is %q", rec.Key, got.Source.Key, from.Key)
	}
	value, cut := from.Value[:min(len(from.Value), keptValue)], len(from.Value) > keptValue
	leftOut := got.Source.Value == nil && got.Source.Truncated && c.mayLeaveOut(rec, len(value)*4/3)
	if !leftOut && (!bytes.Equal(got.Source.Value, value) || got.Source.Truncated != cut) {
		c.violated(WrongEcho, o.request, "its outcome keeps %d bytes of a value of %d, truncated: %t", len(got.Source.Value), len(from.Value), got.Source.Truncated)
	}
	if e := got.Error; e == nil || e.Kind != worker.KindInvalidRequest || e.HTTPStatus != 0 || e.Message == "" {
		c.violated(WrongEcho, o.request, "its outcome does not say why it is rejected: %+v", e)
	}
}

// ledgerHeader is what a replay reads of an outcome instead of its JSON: version,
// N, topic, partition, offset, timestamp, hash, answer, kind, sub-account.
const ledgerHeader = "smscancel-ledger"

func (c *check) checkHeader(rec *Record, got *worker.Outcome, o *outcome) {
	from := workerRecord(&c.run.Requests[o.request])
	answer := "-"
	switch {
	case !o.answers:
	case got.Ambiguous || got.Error != nil || *got.CancelledCount > 1:
		answer = "r"
	default:
		answer = fmt.Sprint(*got.CancelledCount)
	}
	kind, sub := "m", got.SubAccountID
	switch {
	case got.Status == worker.StatusRejected:
		kind, sub = "-", "-"
	case got.BatchID != "":
		kind = "b"
	}
	want := fmt.Sprintf("1 %d %s %d %d %d %08x %s %s %s", c.run.Setup.N, from.Topic, from.Partition, from.Offset,
		from.Timestamp.UnixMilli(), from.Hash(), answer, kind, sub)
	if text := header(rec, ledgerHeader); text != want && !strings.HasPrefix(text, want+" ") {
		c.violated(WrongHeader, o.request, "the header of its outcome says %q, not %q", text, want)
	}
}
