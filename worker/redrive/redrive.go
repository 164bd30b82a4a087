// Package redrive decides which outcomes become requests again, and what those
// say. It is told what stands in the topics, reads and sends nothing itself. The
// command `redrive` calls it.
package redrive

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"smscancel/worker"
)

// What the metadata of a redriven request says besides what it said before.
const (
	CountKey = "smscancel.redrive" // how often the message was redriven
	FirstKey = "smscancel.first"   // the outcomeId that it began with
)

// Skip is why a selected outcome does not become a request.
type Skip string

// The reasons.
const (
	Past    Skip = "its scheduledAt has passed"
	TooMany Skip = "it was redriven as often as allowed"
	Pending Skip = "it is redriven already, and that request has no outcome yet"
	Foreign Skip = "it is of a request topic that is not named, or of a partition that does not exist"
	Invalid Skip = "it would be no valid request"
)

// Skips lists the reasons.
func Skips() []Skip { return []Skip{Past, TooMany, Pending, Foreign, Invalid} }

// Place is where an outcome stands.
type Place struct {
	Partition int
	Offset    int64
}

// Book knows which outcomes are to be redriven. It is told every outcome in the
// order of their times, then every request that may be pending. It keeps some
// fifty bytes for each outcome that is to be redriven.
type Book struct {
	Max          int            // how often a message may be redriven
	Partitions   map[string]int // of the request topics
	DropSchedule bool           // redrive also what has passed its scheduledAt, without it
	Now          time.Time

	newest  map[fingerprint]Place
	pending map[fingerprint]struct{}
}

type fingerprint [16]byte

// NewBook returns an empty book.
func NewBook() *Book {
	return &Book{newest: map[fingerprint]Place{}, pending: map[fingerprint]struct{}{}}
}

// Outcome takes note of an outcome. Only the newest of a message counts: one that
// is not selected takes the message out again. A duplicate and a rejected record
// have no call of their own, and leave everything as it is.
func (b *Book) Outcome(o *worker.Outcome, at Place, selected bool) {
	switch {
	case o.Status == worker.StatusDuplicate || o.Status == worker.StatusRejected:
	case selected && Redrivable(o):
		b.newest[messageOf(o)] = at
	case len(b.newest) > 0:
		delete(b.newest, messageOf(o))
	}
}

// Redrivable tells whether another attempt at an outcome's message makes sense.
func Redrivable(o *worker.Outcome) bool {
	switch o.Status {
	case worker.StatusDuplicate, worker.StatusRejected:
		return false
	}
	return o.Status == worker.StatusFailed || o.Status == worker.StatusExpired || o.Ambiguous
}

// Request takes note of a request without an outcome.
func (b *Book) Request(req *worker.Request) {
	if _, redriven := req.Metadata[CountKey]; redriven {
		b.pending[fingerprintOf(req.RequestID)] = struct{}{}
	}
}

// Len is how many outcomes are selected.
func (b *Book) Len() int { return len(b.newest) }

// Has tells whether an outcome is the one to be redriven.
func (b *Book) Has(o *worker.Outcome, at Place) bool {
	newest, ok := b.newest[messageOf(o)]
	return ok && newest == at && Redrivable(o)
}

// messageOf names the message or batch, in whatever topic or partition its
// requests stand.
func messageOf(o *worker.Outcome) fingerprint {
	kind := "m"
	if o.BatchID != "" {
		kind = "b"
	}
	return fingerprintOf(kind, o.SubAccountID, strings.ToLower(o.UMID+o.BatchID))
}

func fingerprintOf(texts ...string) fingerprint {
	sum := sha256.Sum256([]byte(strings.Join(texts, "\x00")))
	return fingerprint(sum[:16])
}

// request is the JSON of a redriven request.
type request struct {
	UMID         string            `json:"umid,omitempty"`
	BatchID      string            `json:"batchId,omitempty"`
	SubAccountID string            `json:"subAccountId,omitempty"`
	RequestID    string            `json:"requestId"`
	RequestedAt  string            `json:"requestedAt,omitempty"`
	ScheduledAt  string            `json:"scheduledAt,omitempty"`
	CampaignID   string            `json:"campaignId,omitempty"`
	Reason       string            `json:"reason,omitempty"`
	Metadata     map[string]string `json:"metadata"`
	Force        bool              `json:"force"`
}

// Make returns the request that an outcome becomes, or why it becomes none; what
// says more about that. The same outcome always becomes the same request.
func (b *Book) Make(o *worker.Outcome) (value []byte, skip Skip, what string) {
	if o.Source.Partition < 0 || o.Source.Partition >= b.Partitions[o.Source.Topic] {
		return nil, Foreign, fmt.Sprintf("%s/%d", o.Source.Topic, o.Source.Partition)
	}
	n, err := countOf(o)
	switch {
	case err != nil:
		return nil, Invalid, err.Error()
	case n >= b.Max:
		return nil, TooMany, fmt.Sprintf("%d times", n)
	}
	req := request{
		UMID: o.UMID, BatchID: o.BatchID, SubAccountID: o.SubAccountID, RequestID: fmt.Sprintf("%s%d-%s", idPrefix, n+1, o.OutcomeID),
		RequestedAt: o.RequestedAt, ScheduledAt: o.ScheduledAt, CampaignID: o.CampaignID, Reason: o.Reason, Metadata: maps.Clone(o.Metadata), Force: true,
	}
	if req.Metadata == nil {
		req.Metadata = map[string]string{}
	}
	req.Metadata[CountKey] = strconv.Itoa(n + 1)
	req.Metadata[FirstKey] = cmp.Or(req.Metadata[FirstKey], o.OutcomeID)
	if value, err = json.Marshal(req); err != nil {
		return nil, Invalid, err.Error()
	}
	return b.judge(o, req, value)
}

// judge reads the request as the worker will.
func (b *Book) judge(o *worker.Outcome, req request, value []byte) ([]byte, Skip, string) {
	parsed, err := worker.Parser{}.Parse(&worker.Record{Topic: o.Source.Topic, Value: value})
	if err != nil {
		return nil, Invalid, err.Error()
	}
	if _, sent := b.pending[fingerprintOf(req.RequestID)]; sent {
		return nil, Pending, ""
	}
	if parsed.Deadline.IsZero() || parsed.Deadline.After(b.Now) {
		return value, "", ""
	}
	if !b.DropSchedule {
		return nil, Past, req.ScheduledAt
	}
	req.ScheduledAt = ""
	if value, err = json.Marshal(req); err != nil {
		return nil, Invalid, err.Error()
	}
	return value, "", ""
}

// idPrefix begins the requestId of a redriven request; the count follows, which
// an outcome has there also when it had to leave out its metadata.
const idPrefix = "redrive-"

// countOf is how often the request of an outcome was redriven.
func countOf(o *worker.Outcome) (n int, err error) {
	if text, ok := o.Metadata[CountKey]; ok {
		if n, err = strconv.Atoi(text); err != nil || n < 0 {
			return 0, fmt.Errorf("its metadata %s is %.100q, which is no count", CountKey, text)
		}
	}
	if rest, ok := strings.CutPrefix(o.RequestID, idPrefix); ok {
		text, _, _ := strings.Cut(rest, "-")
		if told, err := strconv.Atoi(text); err == nil {
			n = max(n, told)
		}
	}
	return n, nil
}
