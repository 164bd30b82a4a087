package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"smscancel/cmd/smscancel/outcomes"
)

// SelectFlags say which outcomes a command is about.
type SelectFlags struct {
	Status    []string `group:"Selection" placeholder:"NAME" help:"Only these, e.g. failed,expired."`
	Kind      []string `group:"Selection" placeholder:"NAME" help:"Only errors of this kind, e.g. timeout,server_error."`
	Code      []string `group:"Selection" placeholder:"N" help:"Only errors with this code of the API, e.g. 1300."`
	Campaign  []string `group:"Selection" sep:"none" placeholder:"ID" help:"Only this campaignId; repeatable."`
	UMID      []string `name:"umid" group:"Selection" placeholder:"ID" help:"Only this umid or batchId."`
	Ambiguous bool     `group:"Selection" help:"Only those that are marked ambiguous."`
	Since     string   `group:"Selection" placeholder:"TIME" help:"Only outcomes since: RFC 3339, or how long ago (2h)."`
	Until     string   `group:"Selection" placeholder:"TIME" help:"Only outcomes before: RFC 3339, or how long ago."`
}

// filter checks the flags and returns what they select.
func (f *SelectFlags) filter(mistakes *usageError, now time.Time) outcomes.Filter {
	selected := outcomes.Filter{Campaigns: f.Campaign, IDs: f.UMID, Ambiguous: f.Ambiguous}
	selected.Statuses = namesOf(mistakes, "status", f.Status, outcomes.Statuses())
	selected.Kinds = namesOf(mistakes, "kind", f.Kind, outcomes.Kinds())
	for _, text := range f.Code {
		code, err := strconv.Atoi(text)
		mistakes.want(err == nil, "code", text, "it is no whole number")
		selected.Codes = append(selected.Codes, code)
	}
	selected.Since = momentOf(mistakes, "since", f.Since, now)
	selected.Until = momentOf(mistakes, "until", f.Until, now)
	if !selected.Since.IsZero() && !selected.Until.IsZero() {
		mistakes.want(selected.Since.Before(selected.Until), "since", f.Since, fmt.Sprintf("it must be before --until (%s)", f.Until))
	}
	return selected
}

// given tells whether any of the flags is.
func (f *SelectFlags) given() bool {
	return len(f.Status)+len(f.Kind)+len(f.Code)+len(f.Campaign)+len(f.UMID) > 0 || f.Ambiguous || f.Since != "" || f.Until != ""
}

func namesOf[T ~string](mistakes *usageError, flag string, given []string, known []T) []T {
	var names []T
	for _, name := range given {
		mistakes.want(slices.Contains(known, T(name)), flag, name, "use "+anyOf(known))
		names = append(names, T(name))
	}
	return names
}

// anyOf lists what a flag can be.
func anyOf[T ~string](all []T) string {
	names := make([]string, len(all))
	for i, one := range all {
		names[i] = string(one)
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

// momentOf reads a point in time; zero if none is given.
func momentOf(mistakes *usageError, flag, text string, now time.Time) time.Time {
	if text == "" {
		return time.Time{}
	}
	at, err := parseMoment(text, now)
	mistakes.want(err == nil, flag, text, fmt.Sprint(err))
	return at
}

func parseMoment(text string, now time.Time) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	ago, err := time.ParseDuration(text)
	if err != nil || ago < 0 {
		return time.Time{}, errors.New("write a time like 2026-01-31T08:00:00Z, or how long ago, like 90s, 15m or 2h")
	}
	return now.Add(-ago), nil
}
