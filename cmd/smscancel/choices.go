package main

import (
	"slices"
	"strings"

	"smscancel/cmd/smscancel/outcomes"
)

// choices are the values of the flags that take one of a few names: what they
// are held against, and what the shells' completion offers.
var choices = map[string][]string{
	"format":               namesIn(outcomes.Formats()),
	"status":               namesIn(outcomes.Statuses()),
	"kind":                 namesIn(outcomes.Kinds()),
	"kafka-sasl-mechanism": {"plain", "scram-sha-256", "scram-sha-512"},
	"log-format":           {"console", "json"},
	"log-level":            {"debug", "info", "warn", "error"},
}

// choose notes a mistake unless the value is one of the flag's choices.
func (u *usageError) choose(flag, value string) {
	u.want(slices.Contains(choices[flag], value), flag, value, "use "+anyOf(choices[flag]))
}

func namesIn[T ~string](all []T) []string {
	names := make([]string, len(all))
	for i, one := range all {
		names[i] = string(one)
	}
	return names
}

// anyOf lists what a flag can be.
func anyOf(names []string) string {
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}
