package worker

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"mime"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// envelope is a record with the CloudEvent around the request taken off.
type envelope struct {
	part string // name of the part of the record that holds the request
	body []byte // the request's JSON; nil when there is none to read

	id      string // of the CloudEvent; empty for none
	idField string // name of the header or attribute it came from

	traceParent, traceState string
	fault                   *Rejection
}

// The attributes of a CloudEvent that matter here, by number, with the members
// that hold the data in structured mode.
const (
	ceSpecVersion = iota
	ceID
	ceSource
	ceType
	ceDataContentType
	ceTraceParent
	ceTraceState
	ceDataBase64
	ceData

	ceRequired = ceDataContentType // CloudEvents 1.0 demands those before it
	ceTexts    = ceData            // those before it are strings
)

// ceMembers maps the members of a structured event to their numbers.
var ceMembers = map[string]int{
	"specversion":     ceSpecVersion,
	"id":              ceID,
	"source":          ceSource,
	"type":            ceType,
	"datacontenttype": ceDataContentType,
	"traceparent":     ceTraceParent,
	"tracestate":      ceTraceState,
	"data":            ceData,
	"data_base64":     ceDataBase64,
}

// ceHeaders maps the headers of a binary event to the attributes they carry.
var ceHeaders = map[string]int{
	"ce_specversion": ceSpecVersion,
	"ce_id":          ceID,
	"ce_source":      ceSource,
	"ce_type":        ceType,
	"ce_traceparent": ceTraceParent,
	"ce_tracestate":  ceTraceState,
}

// structuredType is the media type of a whole CloudEvent in the value. Kafka's
// binding of CloudEvents tells structured mode by its beginning.
const (
	structuredType       = "application/cloudevents+json"
	structuredTypePrefix = "application/cloudevents"
)

// unwrap takes the CloudEvent off a record, if there is one.
func unwrap(rec *Record) envelope {
	e := envelope{part: "value", body: rec.Value}
	switch {
	case rec.Value == nil:
		e.reject("value", "is null: a tombstone is no request")
	case len(rec.Value) > MaxRequestSize:
		e.reject("value", fmt.Sprintf("has %d bytes, at most %d are allowed", len(rec.Value), MaxRequestSize))
		e.body = nil
	}
	h := readHeaders(rec.Headers)
	switch {
	case strings.HasPrefix(strings.ToLower(h.contentType), structuredTypePrefix):
		e.unwrapStructured(&h)
	case h.isEvent():
		e.unwrapBinary(&h)
	}
	e.continueTrace(&h)
	return e
}

func (e *envelope) reject(field, reason string) {
	if e.fault == nil {
		e.fault = &Rejection{Field: field, Reason: reason}
	}
}

// headers are those of a record that a request can have.
type headers struct {
	contentType             string
	traceParent, traceState string
	ce                      [ceTexts]string
}

// headerNames are all that a request can have.
var headerNames = append(slices.Collect(maps.Keys(ceHeaders)), "content-type", "traceparent", "tracestate")

// KeepHeader adds a header of a record to those that a request can have, in the
// place of an earlier one of its name. Others are left out: a record may have
// millions, and none of them counts.
func KeepHeader(kept []Header, name, value []byte) []Header {
	i := slices.IndexFunc(headerNames, func(known string) bool { return len(known) == len(name) && strings.EqualFold(known, string(name)) })
	if i < 0 {
		return kept
	}
	kept = slices.DeleteFunc(kept, func(h Header) bool { return h.Key == headerNames[i] })
	return append(kept, Header{Key: headerNames[i], Value: value})
}

// readHeaders picks the headers by name in any case; of several with one name
// the last counts, as with Kafka's own lastHeader.
func readHeaders(all []Header) (h headers) {
	for _, one := range all {
		switch name := strings.ToLower(one.Key); name {
		case "content-type":
			h.contentType = string(one.Value)
		case "traceparent":
			h.traceParent = traceText(one.Value)
		case "tracestate":
			h.traceState = traceText(one.Value)
		case "ce_traceparent", "ce_tracestate":
			h.ce[ceHeaders[name]] = traceText(one.Value)
		default:
			if i, known := ceHeaders[name]; known {
				h.ce[i] = string(one.Value)
			}
		}
	}
	return h
}

// isEvent tells whether the record means to be a CloudEvent in binary mode.
func (h *headers) isEvent() bool {
	for _, attribute := range h.ce[:ceRequired] {
		if attribute != "" {
			return true
		}
	}
	return false
}

// unwrapBinary reads a CloudEvent whose attributes are headers: the value is
// the request.
func (e *envelope) unwrapBinary(h *headers) {
	e.checkAttributes("ce_", &h.ce)
	if h.contentType != "" && !isJSON(h.contentType) {
		e.reject("content-type", "must be application/json")
		e.body = nil
	}
}

// unwrapStructured reads a CloudEvent that is the value as a whole.
func (e *envelope) unwrapStructured(h *headers) {
	value := e.body
	e.body = nil
	if mediaType, ok := utf8MediaType(h.contentType); !ok || mediaType != structuredType {
		e.reject("content-type", "must be "+structuredType+" in UTF-8")
		return
	}
	if value == nil {
		return
	}
	var ev event
	if reason := eachMember(value, ev.member); reason != "" {
		e.reject("value", reason)
		return
	}
	if ev.isTwice(ceID) {
		ev.text[ceID] = ""
	}
	if ev.fault != nil {
		e.reject(ev.fault.Field, ev.fault.Reason)
	}
	e.checkAttributes("", &ev.text)
	e.takeData(&ev)
	h.ce[ceTraceParent] = traceText([]byte(ev.text[ceTraceParent]))
	h.ce[ceTraceState] = traceText([]byte(ev.text[ceTraceState]))
}

// event is a CloudEvent in the JSON format.
type event struct {
	members
	text [ceTexts]string
	data []byte
}

func (ev *event) member(name []byte, v jsontext.Value) {
	i, known := ceMembers[string(name)]
	if !known {
		return
	}
	if i == ceData && !ev.isSeen(ceData) {
		ev.data = bytes.Clone(v) // data may be null, which is a value
	}
	if !ev.admit(i, name, v) || i == ceData {
		return
	}
	s, reason := textOf(v)
	if reason != "" {
		ev.reject(string(name), reason)
		return
	}
	ev.text[i] = s
}

// checkAttributes makes sure that this is a CloudEvent of version 1.0 and takes
// its id. Prefix is that of the attributes' names in this mode.
func (e *envelope) checkAttributes(prefix string, attributes *[ceTexts]string) {
	if attributes[ceSpecVersion] != "1.0" {
		e.reject(prefix+"specversion", "must be 1.0")
	}
	for _, name := range [...]string{"id", "source", "type"} {
		if attributes[ceMembers[name]] == "" {
			e.reject(prefix+name, "is missing: CloudEvents 1.0 requires it")
		}
	}
	if id := attributes[ceID]; utf8.ValidString(id) {
		e.id, e.idField = id, prefix+"id"
	} else {
		e.reject(prefix+"id", "is not valid UTF-8")
	}
}

// takeData finds the request in a structured event.
func (e *envelope) takeData(ev *event) {
	contentType := ev.text[ceDataContentType]
	switch data, encoded := ev.isSeen(ceData), ev.isGiven(ceDataBase64); {
	case ev.isTwice(ceData) || ev.isTwice(ceDataBase64):
		return // rejected already, and nobody knows which one is meant
	case contentType != "" && !isJSON(contentType):
		e.reject("datacontenttype", "must be application/json")
	case data && encoded:
		e.reject("data_base64", "must not stand beside data")
	case data:
		e.part, e.body = "data", ev.data
	case encoded:
		e.takeBase64(ev.text[ceDataBase64])
	default:
		e.reject("data", "is missing: it holds the request")
	}
}

func (e *envelope) takeBase64(text string) {
	body, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") { // which the decoder would skip
		e.reject("data_base64", "is not valid base64")
		return
	}
	e.part, e.body = "data_base64", body
}

// applyID makes the id of the CloudEvent that of a request without one.
func (e *envelope) applyID(req *Request) *Rejection {
	if req.RequestID != "" || e.id == "" {
		return nil
	}
	if reason := atMost(maxRequestID)(e.id); reason != "" {
		return &Rejection{Field: e.idField, Reason: reason + " where it stands for the requestId"}
	}
	req.RequestID = e.id
	return nil
}

// continueTrace picks the trace context: that of the record's own headers, which
// instrumented clients set on the way, before that of the CloudEvent. The two
// are never mixed.
func (e *envelope) continueTrace(h *headers) {
	if h.traceParent != "" {
		e.traceParent, e.traceState = h.traceParent, h.traceState
		return
	}
	if h.ce[ceTraceParent] != "" {
		e.traceParent, e.traceState = h.ce[ceTraceParent], h.ce[ceTraceState]
	}
}

// traceText is a header that is handed on, to the API among others: text with
// control characters would make every such call fail, so it counts as absent.
func traceText(value []byte) string {
	if bytes.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7F }) {
		return ""
	}
	return cutTrace(string(value[:min(len(value), maxTrace+utf8.UTFMax)]))
}

// isJSON tells whether a media type is one of JSON in UTF-8.
func isJSON(contentType string) bool {
	if contentType == jsonType {
		return true
	}
	mediaType, ok := utf8MediaType(contentType)
	return ok && (mediaType == jsonType || mediaType == "text/json" || strings.HasSuffix(mediaType, "+json"))
}

// utf8MediaType is the bare media type in lower case; ok is false if it is
// malformed or names another character set than UTF-8.
func utf8MediaType(contentType string) (mediaType string, ok bool) {
	mediaType, parameters, err := mime.ParseMediaType(contentType)
	charset, named := parameters["charset"]
	return mediaType, err == nil && (!named || strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "us-ascii"))
}
