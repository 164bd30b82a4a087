package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/alecthomas/kong"

	"smscancel/cmd/smscancel/process"
	"smscancel/producer/rows"
	"smscancel/producer/submission"
)

// SubmitCmd is `smscancel submit`.
type SubmitCmd struct {
	Files paths `arg:"" optional:"" name:"files" help:"CSV or NDJSON, also gzipped; - is standard input."`

	KafkaFlags   `embed:""`
	RequestTopic []string `group:"Kafka" default:"sms.cancel.requests" placeholder:"TOPIC" help:"Where requests go [${default}]."`
	OutcomeTopic string   `group:"Kafka" default:"sms.cancel.outcomes" placeholder:"TOPIC" help:"Where --wait finds their outcomes [${default}]."`

	Campaign          string `placeholder:"ID" help:"campaignId of every row."`
	DefaultSubAccount string `placeholder:"ID" help:"subAccountId of rows that name none."`
	SkipInvalid       bool   `help:"Send the rest when rows are not valid."`
	DryRun            bool   `help:"Validate, and send nothing."`
	Wait              bool   `help:"Follow the outcomes, and end with a summary."`
	StateDir          string `placeholder:"DIR" help:"Where progress is kept [~/.local/state/smscancel]."`
	Restart           bool   `help:"Forget how far an interrupted run came."`
	Config            string `placeholder:"FILE" help:"YAML file with these flags as keys."`
}

// Help is shown above the flags.
func (*SubmitCmd) Help() string {
	return `<files> are CSV or NDJSON, also gzipped; - is standard input. Columns are the
request's fields (umid or batchId, subAccountId, scheduledAt, ...) and
metadata.NAME. All files are validated before anything is sent. An interrupted
run goes on where it was when it is run again.
Exit codes: 0 submitted, and with --wait none is failed, expired or rejected;
1 a row is at fault, or something failed; 2 wrong usage.

Examples:
  smscancel submit campaign.csv --dry-run
  smscancel submit campaign.csv.gz --brokers k1:9092 --campaign autumn --wait
  query | smscancel submit - --brokers k1:9092 --default-sub-account acme`
}

// paths are the files that are named; unlike in other lists a comma is part of a name.
type paths []string

// Decode implements kong.MapperValue.
func (p *paths) Decode(ctx *kong.DecodeContext) error {
	for {
		next := ctx.Scan.Peek()
		if kind := next.InferredType(); next.IsEOL() || kind == kong.FlagToken || kind == kong.ShortFlagToken || kind == kong.FlagValueToken {
			return nil
		}
		*p = append(*p, fmt.Sprint(ctx.Scan.Pop().Value))
	}
}

// Run submits the files. Its exit code is 0 if all was submitted, and with --wait
// only if every outcome is also cancelled, not_cancelled or duplicate.
func (c *SubmitCmd) Run(ctx context.Context, env environment) error {
	s, mistakes := c.submit(env)
	if len(mistakes) > 0 {
		return mistakes
	}
	return s.run(ctx)
}

// check notes the mistakes that can be found although others were found before.
func (c *SubmitCmd) check(mistakes *usageError, env environment) {
	_, found := c.submit(env)
	*mistakes = append(*mistakes, found...)
}

// submit checks the flags and returns what they ask for.
func (c *SubmitCmd) submit(env environment) (*submit, usageError) {
	var mistakes usageError
	s := &submit{SubmitCmd: *c, out: env.stdout, messages: env.stderr}
	if len(c.Files) == 0 {
		mistakes = append(mistakes, "file: name the file to submit, or - for standard input")
	}
	s.inputs(env.stdin, &mistakes)
	if !c.DryRun || len(c.Brokers) > 0 {
		s.cluster = c.cluster(&mistakes)
	}
	mistakes.want(len(c.RequestTopic) == 1, "request-topic", c.RequestTopic, "name the one that the requests go to")
	for _, topic := range append(slices.Clone(c.RequestTopic), c.OutcomeTopic) {
		mistakes.want(topicName.MatchString(topic), "request-topic", topic, "a topic's name is 1 to 249 of A-Z a-z 0-9 . _ -")
	}
	mistakes.want(len(c.Campaign) <= 128, "campaign", c.Campaign, "a campaignId is 1 to 128 bytes")
	mistakes.want(c.DefaultSubAccount == "" || subAccountName.MatchString(c.DefaultSubAccount), "default-sub-account", c.DefaultSubAccount, subAccountRule)
	mistakes.want(!c.DryRun || !c.Wait, "wait", c.Wait, "with --dry-run there are no outcomes to wait for")
	if s.stateDir = c.StateDir; s.stateDir == "" {
		s.stateDir = stateDir(env.lookup)
	}
	s.Check = rows.Checker{Campaign: c.Campaign, DefaultSubAccount: c.DefaultSubAccount}
	s.Submission.SkipInvalid, s.Submission.Invalid = c.SkipInvalid, s.list.add
	s.list.out = env.stderr
	return s, mistakes
}

func (s *submit) inputs(stdin io.Reader, mistakes *usageError) {
	for i, path := range s.Files {
		in, err := submission.Open(path, stdin)
		if err != nil {
			*mistakes = append(*mistakes, oneLine(fmt.Sprintf("file: %v", err)))
			continue
		}
		if path == submission.Stdin && slices.Contains(s.Files[:i], path) {
			*mistakes = append(*mistakes, "file: - stands twice: standard input can be read once")
		}
		s.Inputs = append(s.Inputs, in)
	}
}

// stateDir is where a user's programs keep their state.
func stateDir(lookup func(string) (string, bool)) string {
	base, _ := lookup("XDG_STATE_HOME")
	if home, err := os.UserHomeDir(); base == "" && err == nil {
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(cmp.Or(base, "."), "smscancel")
}

// submit is one run of the command.
type submit struct {
	SubmitCmd
	submission.Submission
	cluster       process.Cluster
	stateDir      string
	list          faultList
	out, messages io.Writer
}

func (s *submit) run(ctx context.Context) error {
	count, err := s.Survey(ctx)
	if err == nil && s.DryRun {
		var streamed submission.Count
		streamed, err = s.Rehearse(ctx)
		count.Valid, count.Invalid = count.Valid+streamed.Valid, count.Invalid+streamed.Invalid
	}
	s.list.end()
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted while validating, nothing was sent")
	}
	if err != nil {
		return err
	}
	if count.Invalid > 0 && !s.SubmitCmd.SkipInvalid {
		return fmt.Errorf("%s of %s rows are not valid, nothing was sent: mend them, or send the others with --skip-invalid",
			grouped(count.Invalid), grouped(count.Invalid+count.Valid))
	}
	if s.DryRun {
		fmt.Fprintf(s.out, "%s rows are valid, %s are not; nothing was sent\n", grouped(count.Valid), grouped(count.Invalid))
		return nil
	}
	d := &delivery{submit: s, count: count}
	return d.run(ctx)
}
