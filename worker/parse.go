package worker

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Limits of a request, in bytes of UTF-8.
const (
	MaxRequestSize  = 64 << 10 // of a record's value
	maxIDLength     = 64
	maxRequestID    = 128
	maxCampaignID   = 128
	maxReason       = 256
	maxMetadataSize = 4 << 10 // all names and values together
)

// Parser turns records into requests.
type Parser struct {
	DefaultSubAccount string // for requests that name none; empty = those are rejected
}

// Parse returns the request of a record, plain or wrapped in a CloudEvent. Its
// error is always a *[Rejection]. The request shares no memory with the record.
func (p Parser) Parse(rec *Record) (*Request, error) {
	e := unwrap(rec)
	var f form
	if e.body != nil {
		f.read(e.part, e.body)
	}
	if e.body != nil && f.fault == nil {
		f.checkTarget(p.DefaultSubAccount)
	}
	req := f.request()
	req.TraceParent, req.TraceState = e.traceParent, e.traceState
	idFault := e.applyID(req)
	req.RequestID = cmp.Or(req.RequestID, defaultRequestID(rec))
	if fault := cmp.Or(e.fault, f.fault, idFault); fault != nil {
		fault.Partial = req
		return nil, fault
	}
	req.SubAccountID = cmp.Or(req.SubAccountID, p.DefaultSubAccount)
	return req, nil
}

// defaultRequestID is the address of the record: topic/partition/offset.
func defaultRequestID(rec *Record) string {
	return rec.Topic + "/" + strconv.Itoa(rec.Partition) + "/" + strconv.FormatInt(rec.Offset, 10)
}

// The known fields of a request, by number.
const (
	fieldUMID = iota
	fieldBatchID
	fieldSubAccountID
	fieldRequestID
	fieldRequestedAt
	fieldScheduledAt
	fieldCampaignID
	fieldReason
	fieldMetadata
	fieldForce

	textFields = fieldMetadata // those before it are strings
)

// requestFields maps the exact name of a known field to its number.
var requestFields = map[string]int{
	"umid":         fieldUMID,
	"batchId":      fieldBatchID,
	"subAccountId": fieldSubAccountID,
	"requestId":    fieldRequestID,
	"requestedAt":  fieldRequestedAt,
	"scheduledAt":  fieldScheduledAt,
	"campaignId":   fieldCampaignID,
	"reason":       fieldReason,
	"metadata":     fieldMetadata,
	"force":        fieldForce,
}

// textChecks says what is wrong with the value of a text field, or "".
var textChecks = [textFields]func(string) string{
	fieldUMID:         checkID,
	fieldBatchID:      checkID,
	fieldSubAccountID: checkSubAccount,
	fieldRequestID:    atMost(maxRequestID),
	fieldRequestedAt:  checkTime,
	fieldScheduledAt:  checkTime,
	fieldCampaignID:   atMost(maxCampaignID),
	fieldReason:       atMost(maxReason),
}

// form collects the valid fields of one request and remembers the first fault.
type form struct {
	members
	text     [textFields]string
	metadata map[string]string
	force    bool
}

// read fills the form from a JSON object; part is the name of what holds it. A
// text that is not JSON has no fields, however well it begins.
func (f *form) read(part string, body []byte) {
	if reason := eachMember(body, f.member); reason != "" {
		*f = form{}
		f.reject(part, reason)
		return
	}
	for i := range f.text {
		if f.isTwice(i) {
			f.text[i] = ""
		}
	}
	if f.isTwice(fieldMetadata) {
		f.metadata = nil
	}
}

func (f *form) member(name []byte, v jsontext.Value) {
	i, known := requestFields[string(name)]
	if !known || !f.admit(i, name, v) {
		if known && i == fieldUMID && v.Kind() == jsontext.KindNull {
			f.reject("umid", "must not be null")
		}
		return
	}
	if reason := f.set(i, v); reason != "" {
		f.reject(string(name), reason)
	}
}

// set stores a field if it is valid, and says what is wrong with it if not.
func (f *form) set(i int, v jsontext.Value) (reason string) {
	switch i {
	case fieldMetadata:
		f.metadata, reason = metadataOf(v)
		return reason
	case fieldForce:
		f.force = v.Kind() == jsontext.KindTrue
		if !f.force && v.Kind() != jsontext.KindFalse {
			return "must be true or false"
		}
		return ""
	}
	s, reason := textOf(v)
	if reason == "" {
		reason = textChecks[i](s)
	}
	if reason == "" {
		f.text[i] = s
	}
	return reason
}

// checkTarget makes sure that the request says what to cancel.
func (f *form) checkTarget(defaultSubAccount string) {
	switch umid, batch := f.isGiven(fieldUMID), f.isGiven(fieldBatchID); {
	case umid && batch:
		f.reject("batchId", "must not stand beside umid: a request cancels one message or one batch")
	case !umid && !batch:
		f.reject("umid", "is missing: a request names a umid or a batchId")
	}
	if !f.isGiven(fieldSubAccountID) && defaultSubAccount == "" {
		f.reject("subAccountId", "is missing, and the worker has no default")
	}
}

// request is the request as far as the form is filled. Where both ids are
// given, which is a fault, the message's is kept.
func (f *form) request() *Request {
	r := &Request{
		Target:      Target{SubAccountID: f.text[fieldSubAccountID], ID: f.text[fieldUMID]},
		RequestID:   f.text[fieldRequestID],
		RequestedAt: f.text[fieldRequestedAt],
		ScheduledAt: f.text[fieldScheduledAt],
		CampaignID:  f.text[fieldCampaignID],
		Reason:      f.text[fieldReason],
		Metadata:    f.metadata,
		Force:       f.force,
	}
	if r.ID == "" && f.text[fieldBatchID] != "" {
		r.ID, r.Batch = f.text[fieldBatchID], true
	}
	if r.ScheduledAt != "" {
		r.Deadline, _ = parseTime(r.ScheduledAt) // checked when it was set
		if r.Deadline.IsZero() {
			r.Deadline = r.Deadline.Add(1) // year 1, which some clients send, is long past: not "no deadline"
		}
	}
	return r
}

// checkID is the rule for a umid and a batchId. It keeps an id within its
// segment of the API's path: no separator, no escape, no dot segment.
func checkID(s string) string {
	if s == "" || len(s) > maxIDLength || s == "." || s == ".." || strings.ContainsFunc(s, notUnreserved) {
		return "must be 1 to 64 of A-Z a-z 0-9 - . _ ~, and neither . nor .."
	}
	return ""
}

// notUnreserved tells whether r is outside the unreserved characters of RFC 3986.
func notUnreserved(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	}
	return r != '-' && r != '.' && r != '_' && r != '~'
}

// checkSubAccount is the pattern of subAccountId in the API's reference,
// ^[A-Za-z0-9\-._&]{3,50}$.
func checkSubAccount(s string) string {
	foreign := func(r rune) bool { return r == '~' || r != '&' && notUnreserved(r) }
	if len(s) < 3 || len(s) > 50 || strings.ContainsFunc(s, foreign) {
		return "must be 3 to 50 of A-Z a-z 0-9 - . _ &"
	}
	return ""
}

func atMost(limit int) func(string) string {
	return func(s string) string {
		if len(s) > limit {
			return fmt.Sprintf("has %d bytes, at most %d are allowed", len(s), limit)
		}
		return ""
	}
}

// rfc3339 is the grammar of RFC 3339 without leap seconds. time.Parse alone
// also takes one-digit hours, decimal commas and offsets of 24 hours.
var rfc3339 = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`)

func checkTime(s string) string {
	if _, err := parseTime(s); err != nil || !rfc3339.MatchString(s) {
		return "must be a time as in RFC 3339, such as 2026-01-31T08:00:00Z"
	}
	return ""
}

func parseTime(s string) (time.Time, error) { return time.Parse(time.RFC3339, strings.ToUpper(s)) }

// metadataOf reads an object of strings. Its size is that of all names and
// values together, unescaped; a name that stands twice is invalid like a field
// that does.
func metadataOf(v jsontext.Value) (map[string]string, string) {
	if v.Kind() != jsontext.KindBeginObject {
		return nil, "must be an object of strings"
	}
	var reason string
	size, m := 0, map[string]string{}
	malformed := eachMember(v, func(name []byte, v jsontext.Value) {
		s, bad := textOf(v)
		switch _, twice := m[string(name)]; {
		case bad != "":
			reason = cmp.Or(reason, "must hold strings only")
		case twice:
			reason = cmp.Or(reason, "has a name that stands twice")
		}
		m[string(name)] = s
		size += len(name) + len(s)
	})
	if size > maxMetadataSize {
		reason = cmp.Or(reason, fmt.Sprintf("has %d bytes of names and values, at most %d are allowed", size, maxMetadataSize))
	}
	if reason = cmp.Or(malformed, reason); reason != "" || len(m) == 0 {
		return nil, reason
	}
	return m, ""
}
