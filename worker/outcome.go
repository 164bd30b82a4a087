package worker

import (
	"bytes"
	"cmp"
	"crypto/sha1" //nolint:gosec // version 5 of RFC 9562 asks for it
	"strconv"
	"time"

	"github.com/google/uuid"
)

// Status is how a request ended. Outcomes carry one of the six below.
type Status string

const (
	StatusCancelled    Status = "cancelled"     // 200 with cancelledCount >= 1
	StatusNotCancelled Status = "not_cancelled" // 200 with cancelledCount 0
	StatusFailed       Status = "failed"        // refused for good, or given up within the retry limits
	StatusDuplicate    Status = "duplicate"     // answered by an earlier outcome, no call made
	StatusExpired      Status = "expired"       // scheduledAt passed before a call succeeded
	StatusRejected     Status = "rejected"      // no valid request
)

// Kind classifies an error of an outcome.
type Kind string

const (
	KindInvalidRequest  Kind = "invalid_request"  // 400, or a rejected record
	KindUnauthorized    Kind = "unauthorized"     // 401
	KindForbidden       Kind = "forbidden"        // 403
	KindNotFound        Kind = "not_found"        // 404
	KindUpgradeRequired Kind = "upgrade_required" // 426
	KindRateLimited     Kind = "rate_limited"     // 429
	KindServerError     Kind = "server_error"     // 5xx
	KindClientError     Kind = "client_error"     // another 4xx
	KindBadResponse     Kind = "bad_response"     // not an answer of this API
	KindTimeout         Kind = "timeout"
	KindNetwork         Kind = "network"
	KindTLS             Kind = "tls"
	KindWithdrawn       Kind = "withdrawn"
)

// Error is the error of an outcome: what the API said, as it said it, or what
// kept the worker from an answer.
type Error struct {
	Code       *int   `json:"code,omitzero"`       // the API's code
	Message    string `json:"message,omitempty"`   // the API's message, or what went wrong on the way
	ErrorID    string `json:"errorId,omitempty"`   // the API's errorId, for 8x8 support
	Timestamp  string `json:"timestamp,omitempty"` // the API's timestamp, as it gave it
	HTTPStatus int    `json:"httpStatus,omitzero"`
	Kind       Kind   `json:"kind"`
}

// OutcomeSource names the request record that an outcome belongs to.
type OutcomeSource struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Offset    int64  `json:"offset"`
	Timestamp string `json:"timestamp"` // of the record, RFC 3339 UTC with milliseconds

	// Of a rejected record only.
	Value     []byte `json:"value,omitzero"`     // its first 16 KiB; nil for a tombstone
	Key       []byte `json:"key,omitzero"`       // first 1 KiB of a key too long to be the outcome's
	Truncated bool   `json:"truncated,omitzero"` // Value is not the whole value
}

// Outcome is the one result of a request record. Its JSON form is the value of
// the outcome record.
type Outcome struct {
	OutcomeID      string            `json:"outcomeId"`
	RequestID      string            `json:"requestId,omitempty"`
	SubAccountID   string            `json:"subAccountId,omitempty"`
	UMID           string            `json:"umid,omitempty"`
	BatchID        string            `json:"batchId,omitempty"`
	CampaignID     string            `json:"campaignId,omitempty"`
	Reason         string            `json:"reason,omitempty"`
	Metadata       map[string]string `json:"metadata,omitempty"`
	RequestedAt    string            `json:"requestedAt,omitempty"`
	ScheduledAt    string            `json:"scheduledAt,omitempty"`
	Status         Status            `json:"status"`
	CancelledCount *int              `json:"cancelledCount,omitzero"`
	Error          *Error            `json:"error,omitzero"`
	Attempts       int               `json:"attempts"`
	Ambiguous      bool              `json:"ambiguous,omitzero"`
	DuplicateOf    string            `json:"duplicateOf,omitempty"`
	Source         OutcomeSource     `json:"source"`
	FirstAttemptAt string            `json:"firstAttemptAt,omitempty"`
	CompletedAt    string            `json:"completedAt"`

	// What the ledger needs beside the JSON; see producer.
	Record      RecordID `json:"-"` // which record this is the outcome of
	Key         []byte   `json:"-"` // record key; nil for none
	TraceParent string   `json:"-"`
	TraceState  string   `json:"-"`
}

// What a rejected record leaves in its outcome, in bytes.
const (
	maxSourceValue = 16 << 10
	maxKey         = 1 << 10
)

// NewOutcome returns the outcome of a request as far as it is known before
// anything was done: its identity, what is echoed and where it came from.
func NewOutcome(rec *Record, req *Request, clusterID string) *Outcome {
	o := newOutcome(rec, clusterID)
	o.echo(req)
	o.Key = []byte(req.Target.Key())
	return o
}

// RejectedOutcome returns the outcome of a record that is no valid request,
// complete but for CompletedAt.
func RejectedOutcome(rec *Record, rejection *Rejection, clusterID string) *Outcome {
	o := newOutcome(rec, clusterID)
	o.Status = StatusRejected
	o.Error = &Error{Kind: KindInvalidRequest, Message: rejection.Error()}
	if rejection.Partial != nil {
		o.echo(rejection.Partial)
	}
	o.RequestID = cmp.Or(o.RequestID, defaultRequestID(rec))
	if len(rec.Key) <= maxKey {
		o.Key = bytes.Clone(rec.Key)
	} else {
		o.Source.Key = bytes.Clone(rec.Key[:maxKey])
	}
	o.Source.Value = bytes.Clone(rec.Value[:min(len(rec.Value), maxSourceValue)])
	o.Source.Truncated = len(rec.Value) > maxSourceValue
	return o
}

func newOutcome(rec *Record, clusterID string) *Outcome {
	return &Outcome{
		OutcomeID: OutcomeID(clusterID, rec.Topic, rec.Partition, rec.Offset, rec.Timestamp),
		Source: OutcomeSource{
			Topic:     rec.Topic,
			Partition: rec.Partition,
			Offset:    rec.Offset,
			Timestamp: FormatTime(rec.Timestamp),
		},
		Record: rec.ID(),
	}
}

// echo repeats what the request said.
func (o *Outcome) echo(req *Request) {
	o.RequestID = req.RequestID
	o.SubAccountID = req.SubAccountID
	if req.Batch {
		o.BatchID = req.ID
	} else {
		o.UMID = req.ID
	}
	o.CampaignID, o.Reason, o.Metadata = req.CampaignID, req.Reason, req.Metadata
	o.RequestedAt, o.ScheduledAt = req.RequestedAt, req.ScheduledAt
	o.TraceParent, o.TraceState = req.TraceParent, req.TraceState
}

// outcomeNamespace is the name space of outcome ids. It never changes.
var outcomeNamespace = uuid.MustParse("a2e3b5c4-6f0d-4c1e-9b57-0d8e5f2a7c31")

// OutcomeID names the outcome of a record: the version 5 UUID of
// "cluster/topic/partition/offset/timestamp" in a name space of its own, with
// the timestamp in Unix milliseconds. No topic has a slash in its name, so no
// two records share a name. (uuid.NewSHA1 makes the same, and five allocations.)
func OutcomeID(clusterID, topic string, partition int, offset int64, timestamp time.Time) string {
	var room [256]byte
	name := append(room[:0], outcomeNamespace[:]...)
	name = append(append(append(name, clusterID...), '/'), topic...)
	for _, n := range [...]int64{int64(partition), offset, timestamp.UnixMilli()} {
		name = strconv.AppendInt(append(name, '/'), n, 10)
	}
	sum := sha1.Sum(name)
	id := uuid.UUID(sum[:len(uuid.UUID{})])
	id[6] = id[6]&0x0f | 5<<4 // the version
	id[8] = id[8]&0x3f | 0x80 // the variant
	return id.String()
}

// RecordID tells one request record from every other of its partition, also
// from one that took its offset after the topic was created again.
type RecordID struct {
	Offset    int64
	Timestamp int64 // Unix milliseconds
	Hash      uint32
}

// ID is the record's identity within its partition.
func (r *Record) ID() RecordID {
	return RecordID{Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(), Hash: r.Hash()}
}

// AnswersDuplicates tells whether later requests for the same target are
// answered by this outcome: the API's word is final.
func (o *Outcome) AnswersDuplicates() bool {
	switch o.Status {
	case StatusCancelled, StatusNotCancelled:
		return true
	case StatusFailed:
		return o.Error != nil && o.Error.Kind == KindInvalidRequest && o.Error.HTTPStatus != 0 // the API's word, not ours
	}
	return false
}

// TimeFormat is RFC 3339 in UTC with milliseconds, the form of every time that
// the worker itself writes.
const TimeFormat = "2006-01-02T15:04:05.000Z"

// FormatTime renders t in TimeFormat. A producer may stamp its records with any
// number of milliseconds; years that RFC 3339 cannot write become the nearest
// that it can.
func FormatTime(t time.Time) string {
	switch t = t.UTC(); {
	case t.Year() < 0:
		return "0000-01-01T00:00:00.000Z"
	case t.Year() > 9999:
		return "9999-12-31T23:59:59.999Z"
	}
	return t.Format(TimeFormat)
}
