package simulator

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"
)

// Phase says on which side of a call's effect a fault strikes.
type Phase string

const (
	Before Phase = "before" // nothing is cancelled
	After  Phase = "after"  // the message is cancelled first
)

// Answer is how one call is treated instead of, or on the way to, the API's
// normal answer. The zero Answer, one with only a Delay, and one with a 2xx
// Status leave the API's own answer standing.
//
// Everything else stands in for the API's answer, and then nothing is cancelled
// unless Effect says so. At most one of Hang, Reset, Huge, HTML, Empty,
// Redirect, NoCount and Body may be given.
type Answer struct {
	Status      int               `yaml:"status,omitempty"`
	Code        int               `yaml:"code,omitempty"`        // of the error body; default: the one that goes with Status
	Message     string            `yaml:"message,omitempty"`     // of the error body; default: the one that goes with Status
	RetryAfter  string            `yaml:"retryAfter,omitempty"`  // header as it stands, or "date+3s": an HTTP date 3 s ahead
	Delay       time.Duration     `yaml:"delay,omitempty"`       // before the effect
	Hang        Phase             `yaml:"hang,omitempty"`        // never answers
	Reset       Phase             `yaml:"reset,omitempty"`       // resets the TCP connection
	Truncated   bool              `yaml:"truncated,omitempty"`   // half the body, then the connection is closed
	Huge        bool              `yaml:"huge,omitempty"`        // a valid body of more than 1 MiB
	HTML        bool              `yaml:"html,omitempty"`        // a proxy's error page; default status 502
	Empty       bool              `yaml:"empty,omitempty"`       // no body; default status 200
	Redirect    bool              `yaml:"redirect,omitempty"`    // default status 302, to /moved on the same host
	NoCount     bool              `yaml:"noCount,omitempty"`     // 200 without cancelledCount
	Effect      bool              `yaml:"effect,omitempty"`      // the message is cancelled, whatever the answer says
	Body        *string           `yaml:"body,omitempty"`        // as it stands; default status 200
	ContentType string            `yaml:"contentType,omitempty"` // default: what goes with the body
	Header      map[string]string `yaml:"header,omitempty"`      // further headers
	Repeat      int               `yaml:"repeat,omitempty"`      // of a message's answers: for how many calls; 0 = one
}

// kind names what stands in for the API's answer; empty if nothing does.
func (a *Answer) kind() string {
	kinds := a.kinds()
	switch {
	case len(kinds) > 0:
		return kinds[0]
	case a.Status != 0 && !a.success():
		return fmt.Sprint(a.Status)
	}
	return ""
}

// kinds lists the fields given of which only one may be.
func (a *Answer) kinds() []string {
	var kinds []string
	for _, k := range []struct {
		given bool
		name  string
	}{
		{a.Hang != "", "hang"}, {a.Reset != "", "reset"}, {a.Huge, "huge"}, {a.HTML, "html"},
		{a.Empty, "empty"}, {a.Redirect, "redirect"}, {a.NoCount, "no-count"}, {a.Body != nil, "body"},
	} {
		if k.given {
			kinds = append(kinds, k.name)
		}
	}
	return kinds
}

func (a *Answer) success() bool { return a.Status >= 200 && a.Status < 300 }

// silent tells that no answer is sent at all.
func (a *Answer) silent() bool { return a.Hang != "" || a.Reset != "" }

// standsIn tells that the API's own answer is not sent.
func (a *Answer) standsIn() bool { return a.kind() != "" }

// takesEffect tells that the message is cancelled if it can be.
func (a *Answer) takesEffect() bool {
	return !a.standsIn() || a.Hang == After || a.Reset == After || a.Effect
}

// Name is the fault's name in the ledger and in Faults.Rates: "503",
// "hang-after", "html", "truncated"; empty for the API's own answer.
func (a *Answer) Name() string {
	name := a.kind()
	switch {
	case a.silent():
		return name + "-" + string(a.Hang+a.Reset)
	case a.Truncated && name != "":
		name = "truncated-" + name
	case a.Truncated:
		return "truncated"
	}
	if name != "" && a.Effect {
		name += "-after"
	}
	return name
}

func (a *Answer) isZero() bool { return reflect.ValueOf(a).Elem().IsZero() }

func (a *Answer) validate() error {
	_, retryErr := retryAfter(a.RetryAfter, time.Time{})
	return errors.Join(a.checkShape(), a.checkStatus(), a.checkPhases(), retryErr)
}

func (a *Answer) checkShape() error {
	kinds := a.kinds()
	speaks := a.Status != 0 || a.Code != 0 || a.Message != "" || a.RetryAfter != "" ||
		a.ContentType != "" || len(a.Header) > 0 || a.Truncated
	switch {
	case len(kinds) > 1:
		return fmt.Errorf("only one of %s can be given", strings.Join(kinds, ", "))
	case a.silent() && speaks:
		return fmt.Errorf("%s sends no answer, so nothing can be said about it", kinds[0])
	case a.silent() && a.Effect:
		return fmt.Errorf("effect goes without %[1]s: write %[1]s: after", kinds[0])
	case a.Truncated && (a.Huge || a.Empty || a.Redirect):
		return fmt.Errorf("truncated does not go with %s", kinds[0])
	case (a.Code != 0 || a.Message != "") && (len(kinds) > 0 || a.Status < 300):
		return errors.New("code and message need an error status and no other body")
	}
	return nil
}

func (a *Answer) checkStatus() error {
	switch {
	case a.Status != 0 && (a.Status < 200 || a.Status > 599):
		return fmt.Errorf("status is %d, must be 200 to 599", a.Status)
	case a.NoCount && a.Status != 0 && !a.success():
		return fmt.Errorf("noCount is a success, status is %d", a.Status)
	case a.Redirect && a.Status != 0 && (a.Status < 300 || a.Status > 399):
		return fmt.Errorf("redirect needs a status of 300 to 399, has %d", a.Status)
	case a.Delay < 0 || a.Repeat < 0:
		return errors.New("delay and repeat must not be negative")
	}
	return nil
}

func (a *Answer) checkPhases() error {
	for name, phase := range map[string]Phase{"hang": a.Hang, "reset": a.Reset} {
		if phase != "" && phase != Before && phase != After {
			return fmt.Errorf("%s is %q, must be before or after", name, phase)
		}
	}
	return nil
}

// retryAfter renders the header: as it stands, or as a date some time after now.
func retryAfter(text string, now time.Time) (string, error) {
	ahead, isDate := strings.CutPrefix(text, "date+")
	if !isDate {
		return text, nil
	}
	d, err := time.ParseDuration(ahead)
	if err != nil {
		return "", fmt.Errorf("retryAfter is %q, its date needs a duration like date+3s", text)
	}
	// An HTTP date has whole seconds: round up, so that the pause is not shorter
	// than asked for.
	date := now.Add(d + time.Second - 1).Truncate(time.Second)
	return date.UTC().Format(http.TimeFormat), nil
}
