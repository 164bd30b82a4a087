package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"smscancel/cmd/smscancel/outcomes"
	"smscancel/worker"
)

// SelectFlags say which outcomes a command is about.
type SelectFlags struct {
	Status    []string `group:"Select" placeholder:"NAME" help:"Such as failed,expired."`
	Kind      []string `group:"Select" placeholder:"NAME" help:"Kind of error, such as timeout,network."`
	Code      []string `group:"Select" placeholder:"N" help:"Code of the API, such as 1300."`
	Campaign  []string `group:"Select" sep:"none" placeholder:"ID" help:"campaignId; repeatable."`
	UMID      []string `name:"umid" group:"Select" placeholder:"ID" help:"umid or batchId."`
	Ambiguous bool     `group:"Select" help:"Those that are marked ambiguous."`
	Since     string   `group:"Select" placeholder:"TIME" help:"RFC 3339, or how long ago (2h)."`
	Until     string   `group:"Select" placeholder:"TIME" help:"Before then, written like --since."`
}

// filter checks the flags and returns what they select.
func (f *SelectFlags) filter(mistakes *usageError, now time.Time) outcomes.Filter {
	selected := outcomes.Filter{Campaigns: f.Campaign, IDs: f.UMID, Ambiguous: f.Ambiguous}
	selected.Statuses = chosenOf[worker.Status](mistakes, "status", f.Status)
	selected.Kinds = chosenOf[worker.Kind](mistakes, "kind", f.Kind)
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

// chosenOf are names out of a flag's choices.
func chosenOf[T ~string](mistakes *usageError, flag string, given []string) []T {
	var names []T
	for _, name := range given {
		mistakes.choose(flag, name)
		names = append(names, T(name))
	}
	return names
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
