package api

import (
	"errors"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"smscancel/worker"
)

// Bodies are read with the v2 design of encoding/json: names match exactly,
// and a name that stands twice makes the body invalid. Unknown fields are fine.

// errorBody is the error of every cancel endpoint (schema ErrorResponse).
// Fields are judged one by one: a message of another type is no reason to take
// the API's refusal for somebody else's.
type errorBody struct {
	Code      jsontext.Value `json:"code"`
	Message   jsontext.Value `json:"message"`
	ErrorID   jsontext.Value `json:"errorId"`
	Timestamp jsontext.Value `json:"timestamp"`
}

// parseError returns what an error body says, whether it has an integer code,
// and whether it is a JSON object at all.
func parseError(body []byte) (e worker.Error, hasCode, isObject bool) {
	var b errorBody
	if !unmarshalObject(body, &b) {
		return worker.Error{}, false, false
	}
	e = worker.Error{Message: text(b.Message), ErrorID: text(b.ErrorID), Timestamp: text(b.Timestamp)}
	if code, ok := integer(b.Code); ok {
		e.Code, hasCode = &code, true
	}
	return e, hasCode, true
}

// countBody is the answer 200 (field cancelledCount, required).
type countBody struct {
	CancelledCount jsontext.Value `json:"cancelledCount"`
}

func parseCount(body []byte) (int, error) {
	var b countBody
	if !unmarshalObject(body, &b) {
		return 0, errors.New("with a body that is not one JSON object")
	}
	count, ok := integer(b.CancelledCount)
	if !ok || count < 0 {
		return 0, errors.New("without a cancelledCount that is an integer of 0 or more")
	}
	return count, nil
}

// unmarshalObject refuses null, which Unmarshal takes for any struct.
func unmarshalObject(body []byte, into any) bool {
	if err := json.Unmarshal(body, into); err != nil {
		return false
	}
	return jsontext.Value(body).Kind() == '{'
}

// integer accepts digits only: 1.0, 1e0, -0 and "1" are not what the API sends.
func integer(v jsontext.Value) (int, bool) {
	n, err := strconv.Atoi(string(v))
	return n, err == nil && string(v) != "-0"
}

func text(v jsontext.Value) string {
	var s string
	if v.Kind() != '"' || json.Unmarshal(v, &s) != nil {
		return ""
	}
	return s
}
