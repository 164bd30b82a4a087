package worker

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// allocated is how many bytes f allocates, and whatever runs beside it.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Fault: texts that are made to cost more than they weigh: a hundred thousand
// levels, names, digits or escapes, many times the allowed size. Promise: each is
// rejected with its field named, or read for what it is, and costs memory in
// proportion to the 64 KiB that a request may have.
func TestAHostileTextCostsNoMoreThanItsSize(t *testing.T) {
	const levels = 100_000
	fill := func(begin, repeat, end string) string { // as large as a request may be
		return begin + strings.Repeat(repeat, (MaxRequestSize-len(begin)-len(end))/len(repeat)) + end
	}
	for name, c := range map[string]struct{ value, field string }{
		"100,000 lists":              {with(`"x":` + strings.Repeat("[", levels) + strings.Repeat("]", levels)), "value"},
		"100,000 objects":            {strings.Repeat(`{"a":`, levels) + "1" + strings.Repeat("}", levels), "value"},
		"lists to the limit":         {fill(`{"umid":"u-1","x":`, "[", ""), "value"},
		"objects to the limit":       {fill("", `{"a":`, ""), "value"},
		"closing brackets":           {fill(`{"umid":"u-1","x":`, "]", ""), "value"},
		"metadata of lists":          {fill(`{"umid":"u-1","metadata":`, "[", ""), "value"},
		"10 MiB of nothing":          {with(`"x":"` + strings.Repeat(" ", 10<<20) + `"`), "value"},
		"10 MiB of digits":           {with(`"x":` + strings.Repeat("1", 10<<20)), "value"},
		"one name to the limit":      {fill(`{"umid":"u-1","`, "n", `":1}`), ""},
		"unknown names to the limit": {fill(`{"umid":"u-1"`, `,"n":1`, "}"), ""},
		"known names to the limit":   {fill(`{"umid":"u-1"`, `,"reason":"r"`, "}"), "reason"},
		"escaped names to the limit": {fill(`{"umid":"u-1"`, `,"\u0072eason":"r"`, "}"), "reason"},
		"nulls to the limit":         {fill(`{"umid":"u-1","metadata":{"a":"b"`, `,"n":null`, "}}"), "metadata"},
		"metadata names":             {fill(`{"umid":"u-1","metadata":{"a":"b"`, `,"n":"v"`, "}}"), "metadata"},
		"escapes to the limit":       {fill(`{"umid":"u-1","reason":"`, `\u00e4`, `"}`), "reason"},
		"digits to the limit":        {fill(`{"umid":"u-1","force":`, "9", "}"), "force"},
		"zeros to the limit":         {fill(`{"umid":"u-1","x":0.`, "0", "1}"), ""},
		"exponent to the limit":      {fill(`{"umid":"u-1","x":1e`, "9", "}"), ""},
		"fraction of a second":       {fill(`{"umid":"u-1","scheduledAt":"2026-01-31T09:00:00.`, "9", `Z"}`), ""},
		"white space to the limit":   {fill(" ", "\n", `{"umid":"u-1"}`), ""},
		"quotes":                     {fill("", `"`, ""), "value"},
		"backslashes":                {fill(`{"umid":"`, `\`, ""), "value"},
		"NULs":                       {fill("", "\x00", ""), "value"},
		"not UTF-8":                  {fill(`{"umid":"`, "\xff", `"}`), "value"},
		"lone surrogates":            {fill(`{"umid":"u-1","x":"`, `\ud800`, `"}`), "value"},
		"combining characters":       {fill(`{"umid":"u`, "\u0308", `"}`), "umid"},
		"right to left":              {fill(`{"umid":"`, "\u202e", `"}`), "umid"},
		"base64 in base64":           {base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("x"), 40_000)), "value"},
	} {
		for mode, rec := range map[string]*Record{"plain": record(c.value), "binary": binary(c.value), "structured": structured(`,"data":` + c.value)} {
			t.Run(name+", "+mode, func(t *testing.T) {
				var rejection *Rejection
				spent := allocated(func() {
					_, err := Parser{DefaultSubAccount: "default_sub"}.Parse(rec)
					rejection, _ = err.(*Rejection)
				})
				if spent > 1<<20 { // sixteen times the size: the structured mode holds the data twice, and buffers grow by doubling
					t.Errorf("%d bytes allocated for %d", spent, len(rec.Value))
				}
				if _, again := checkParsed(t, rec); (again == nil) != (rejection == nil) {
					t.Errorf("%v, then %v", rejection, again)
				}
				if mode == "structured" {
					return // which is over the limit as a whole, as a rule
				}
				if (c.field == "") != (rejection == nil) || rejection != nil && rejection.Field != c.field {
					t.Errorf("rejected with %v, want field %q", rejection, c.field)
				}
			})
		}
	}
}

// Fault: keys, headers and trace contexts of a megabyte, and a hundred thousand
// headers. Promise: the outcome stays within 256 KiB and the request's own limits;
// what no request can have is not even kept.
func TestHostileKeysAndHeadersStayOutOfTheOutcome(t *testing.T) {
	huge := strings.Repeat("x", 1<<20)
	for name, change := range map[string]func(*Record){
		"key":           func(r *Record) { r.Key = []byte(huge) },
		"key not UTF-8": func(r *Record) { r.Key = bytes.Repeat([]byte{0xff}, 1<<20) },
		"traceparent":   func(r *Record) { r.Headers = []Header{header("traceparent", huge)} },
		"tracestate": func(r *Record) {
			r.Headers = []Header{header("traceparent", "00-1"), header("tracestate", strings.Repeat("a=1,", 1<<18))}
		},
		"content type": func(r *Record) { r.Headers = []Header{header("content-type", "application/cloudevents+json;"+huge)} },
		"content parameters": func(r *Record) {
			r.Headers = []Header{header("content-type", "application/cloudevents+json"+strings.Repeat(";a=b", 1<<18))}
		},
		"ce_id":   func(r *Record) { *r = *binary(string(r.Value), header("ce_id", huge)) },
		"ce_type": func(r *Record) { *r = *binary(string(r.Value), header("ce_type", huge)) },
	} {
		for _, value := range []string{body, "x"} {
			rec := record(value)
			change(rec)
			checkParsed(t, rec)
			if spent := allocated(func() { Parser{}.Parse(rec) }); spent > 8<<20 {
				t.Errorf("%s: %d bytes allocated", name, spent)
			}
		}
	}
}

func TestOnlyHeadersThatARequestCanHaveAreKeptAndOfEachTheLast(t *testing.T) {
	var kept []Header
	spent := allocated(func() {
		for i := range 20_000 {
			kept = KeepHeader(kept, []byte("x-unknown"), nil)
			kept = KeepHeader(kept, []byte("CE_Id"), []byte{byte(i)})
		}
	})
	kept = KeepHeader(kept, []byte("Content-Type"), []byte("application/json"))
	kept = KeepHeader(kept, []byte("ce_id "), []byte("another name"))
	kept = KeepHeader(kept, nil, []byte("no name"))
	if want := "[{ce_id [31]} {content-type [97 112"; !strings.HasPrefix(fmt.Sprint(kept), want) || len(kept) != 2 {
		t.Errorf("kept %d: %.200v", len(kept), fmt.Sprint(kept))
	}
	if spent > 1<<20 {
		t.Errorf("%d bytes allocated", spent)
	}
}
