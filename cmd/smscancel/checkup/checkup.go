// Package checkup looks at everything that a worker needs, from the name of a
// broker to the key of a sub-account, one step after the other, each with its
// remedy. It changes nothing but the epoch of a transactional id of its own.
// `smscancel check` calls it.
package checkup

import (
	"context"
	"time"

	"smscancel/cmd/smscancel/process"
	"smscancel/worker/api"
)

// State says how a step went.
type State string

// The states.
const (
	OK      State = "ok"
	Warning State = "warning"
	Failed  State = "FAILED"
	Skipped State = "skipped"
)

// Finding is what one step found.
type Finding struct {
	Step   string
	State  State
	Text   string
	Remedy string // what to do; empty where nothing is to be done
}

// Config is what is looked at.
type Config struct {
	Cluster       process.Cluster
	Group         string
	RequestTopics []string
	OutcomeTopic  string
	DedupeWindow  time.Duration

	APIURL      string
	APICAFile   string
	Keys        api.Keys
	SubAccounts []string // whose keys are tried
	Timeout     time.Duration
}

// Checkup is one run.
type Checkup struct {
	Config
	Report func(Finding) // is given each finding as it comes

	failures int
}

// Run makes every step that the ones before allow, and returns how many failed.
func (c *Checkup) Run(ctx context.Context) int {
	c.kafka(ctx)
	c.api(ctx)
	return c.failures
}

func (c *Checkup) ok(step, text string) { c.Report(Finding{Step: step, State: OK, Text: text}) }

func (c *Checkup) skip(step, text, remedy string) {
	c.Report(Finding{step, Skipped, text, remedy})
}

func (c *Checkup) warn(step, text, remedy string) {
	c.Report(Finding{step, Warning, text, remedy})
}

func (c *Checkup) fail(step, text, remedy string) {
	c.failures++
	c.Report(Finding{step, Failed, text, remedy})
}
