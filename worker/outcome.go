package worker

import "time"

// Status is how a request ended. Outcomes carry one of the six below.
type Status string

const (
	StatusCancelled    Status = "cancelled"     // 200 with cancelledCount ≥ 1
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
	Code       *int   `json:"code,omitempty"`      // the API's code
	Message    string `json:"message,omitempty"`   // the API's message, or what went wrong on the way
	ErrorID    string `json:"errorId,omitempty"`   // the API's errorId, for 8x8 support
	Timestamp  string `json:"timestamp,omitempty"` // the API's timestamp, as it gave it
	HTTPStatus int    `json:"httpStatus,omitempty"`
	Kind       Kind   `json:"kind"`
}

// OutcomeSource names the request record that an outcome belongs to.
type OutcomeSource struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Offset    int64  `json:"offset"`
	Timestamp string `json:"timestamp"` // of the record, RFC 3339 UTC with milliseconds

	// Of a rejected record only.
	Value     []byte `json:"value,omitempty"` // its first 16 KiB
	Key       []byte `json:"key,omitempty"`   // first 1 KiB of a key too long to be the outcome's
	Truncated bool   `json:"truncated,omitempty"`
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
	CancelledCount *int              `json:"cancelledCount,omitempty"`
	Error          *Error            `json:"error,omitempty"`
	Attempts       int               `json:"attempts"`
	Ambiguous      bool              `json:"ambiguous,omitempty"`
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
		return o.Error != nil && o.Error.Kind == KindInvalidRequest
	}
	return false
}

// TimeFormat is RFC 3339 in UTC with milliseconds, the form of every time that
// the worker itself writes.
const TimeFormat = "2006-01-02T15:04:05.000Z"

// FormatTime renders t in TimeFormat.
func FormatTime(t time.Time) string { return t.UTC().Format(TimeFormat) }
