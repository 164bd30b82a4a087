package worker

import (
	"hash/crc32"
	"strings"
	"time"
)

// Header is one header of a record. Names are case-sensitive and may repeat.
type Header struct {
	Key   string
	Value []byte
}

// Record is one record of a request topic as it stands in the log.
type Record struct {
	Topic     string
	Partition int
	Offset    int64
	Timestamp time.Time // millisecond precision, as the broker keeps it
	Key       []byte    // nil when the record has none
	Value     []byte    // nil for a tombstone
	Headers   []Header  // see KeepHeader
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Hash is a short fingerprint of key and value. With offset and timestamp it
// tells a record from another one that took its place after the topic was
// deleted and created again.
func (r *Record) Hash() uint32 {
	return crc32.Update(crc32.Checksum(r.Key, castagnoli), castagnoli, r.Value)
}

// Target is what a request cancels: one message or one batch of a sub-account.
// Requests with the same Identity are duplicates of each other.
type Target struct {
	SubAccountID string // with the default applied
	ID           string // UMID or batch id, as the request wrote it
	Batch        bool
}

// Key is the record key of requests and outcomes of this target.
func (t Target) Key() string { return strings.ToLower(t.ID) }

// Identity is the target with its id in lower case: ids are compared in any case.
func (t Target) Identity() Target {
	t.ID = t.Key()
	return t
}

// Request is a valid cancel request.
type Request struct {
	Target

	RequestID   string
	RequestedAt string    // as the request wrote it; echoed
	ScheduledAt string    // as the request wrote it; echoed
	Deadline    time.Time // ScheduledAt parsed; zero when there is none
	CampaignID  string
	Reason      string
	Metadata    map[string]string
	Force       bool // call the API even if an earlier outcome would answer

	TraceParent string // W3C trace context of the request, continued by its outcome
	TraceState  string
}

// Rejection says why a record is no valid request. It is the error of
// [Parser.Parse].
type Rejection struct {
	Field   string   // what is at fault: a field, "value", or a header
	Reason  string   // what is wrong with it, to be read after the field's name
	Partial *Request // every field that is valid, for the echo
}

// Error names the field and says what is wrong with it.
func (r *Rejection) Error() string { return r.Field + ": " + r.Reason }
