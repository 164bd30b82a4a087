package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"smscancel/cmd/smscancel/outcomes"
	"smscancel/cmd/smscancel/process"
	"smscancel/consumer"
	"smscancel/consumer/records"
	"smscancel/consumer/scan"
)

// OutcomesCmd is `smscancel outcomes`.
type OutcomesCmd struct {
	Follow  bool   `help:"As they come, from now on or --since."`
	Format  string `default:"table" placeholder:"NAME" help:"table, json or csv [${default}]."`
	Summary bool   `help:"Counts, rate, latency; progress of a --campaign."`

	Verify       bool `help:"Hold all requests against all outcomes."`
	AllowPending bool `help:"With --verify: what is pending is right."`

	SelectFlags `embed:""`
	KafkaFlags  `embed:""`
	TopicFlags  `embed:""`
	Config      string `placeholder:"FILE" help:"YAML file with these flags as keys."`
}

// Help is shown above the flags.
func (*OutcomesCmd) Help() string {
	return `Exit codes: 0 done; 1 failed, or --verify found something; 2 wrong usage.

Examples:
  smscancel outcomes --brokers kafka1:9092 --since 1h --status failed,expired
  smscancel outcomes --brokers kafka1:9092 --summary --campaign autumn-sale
  smscancel outcomes --brokers kafka1:9092 --verify --allow-pending`
}

// Run shows outcomes until all are shown, ctx ends or nobody reads them.
func (c *OutcomesCmd) Run(ctx context.Context, env environment) error {
	var mistakes usageError
	look := &looking{OutcomesCmd: c, env: env}
	look.cluster, look.filter = c.values(&mistakes)
	if len(mistakes) > 0 {
		return mistakes
	}
	signal.Ignore(syscall.SIGPIPE) // a pager that is closed is no crash
	look.topics = openTopics(look.cluster, env, append(slices.Clone(c.RequestTopic), c.OutcomeTopic)...)
	defer look.disconnect()
	err := look.run(ctx)
	if c.Verify && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return errors.New("stopped before the end: nothing is verified")
	}
	return explained(quiet(ctx, err), c.Brokers, "READ on the topics, and with --verify DESCRIBE on the group")
}

// check notes the mistakes that can be found although others were found before.
func (c *OutcomesCmd) check(mistakes *usageError) { c.values(mistakes) }

func (c *OutcomesCmd) values(mistakes *usageError) (process.Cluster, outcomes.Filter) {
	cluster := c.cluster(mistakes)
	c.checkTopics(mistakes)
	mistakes.choose("format", c.Format)
	mistakes.want(!c.Summary && !c.Verify || c.Format != "csv", "format", c.Format, "a summary, or what --verify finds, is shown as table or json")
	mistakes.want(!c.Verify || !c.Follow && !c.Summary && !c.given(), "verify", c.Verify, "it reads everything: leave out --follow, --summary and what selects")
	mistakes.want(c.Verify || !c.AllowPending, "allow-pending", c.AllowPending, "it has no effect without --verify")
	mistakes.want(!c.Follow || c.Until == "", "until", c.Until, "it has no effect with --follow, which goes on until Ctrl-C")
	return cluster, c.filter(mistakes, time.Now())
}

// looking is one run of the command.
type looking struct {
	*OutcomesCmd
	*topics
	env     environment
	cluster process.Cluster
	filter  outcomes.Filter
}

func (l *looking) run(ctx context.Context) error {
	show := l.list
	switch {
	case l.Verify:
		show = l.verify
	case l.Summary:
		show = l.summarise
	}
	reader := &outcomes.Reader{}
	err := show(ctx, reader)
	if reader.Strays > 0 {
		fmt.Fprintf(l.env.stderr, "smscancel: %d records are no outcomes, the first is %s\n", reader.Strays, oneLine(reader.Stray.Error()))
	}
	return err
}

// ledger is the part of the outcome topic that is to be read.
func (l *looking) ledger(ctx context.Context, since time.Time) (*scan.Topic, error) {
	topic, err := l.outcomes(ctx, l.OutcomeTopic, since)
	if err != nil {
		return nil, err
	}
	topic.Until, topic.Follow = l.filter.Until, l.Follow
	if l.Follow && l.filter.Since.IsZero() {
		topic.FromEnds()
	}
	return topic, nil
}

func (l *looking) list(ctx context.Context, reader *outcomes.Reader) (err error) {
	if reader.Topic, err = l.ledger(ctx, l.filter.Since); err != nil {
		return err
	}
	list, err := outcomes.NewList(l.Format, l.env.stdout)
	if err != nil {
		return err
	}
	errRead := reader.Each(ctx, l.filter.Match, func(o *outcomes.Record) bool {
		if err = list.Add(o); err == nil && l.Follow {
			err = list.Flush()
		}
		return err == nil
	})
	if err == nil {
		err = list.Flush()
	}
	if err == nil {
		err = errRead
	}
	return err
}

// summarise counts. Where that is about campaigns their requests are counted
// first, and the outcome topic is read whole: progress has no --since.
func (l *looking) summarise(ctx context.Context, reader *outcomes.Reader) (err error) {
	since, want := l.filter.Since, l.filter.Match
	var campaigns *outcomes.Campaigns
	if len(l.Campaign) > 0 && !l.Follow {
		if campaigns, err = l.requested(ctx); err != nil {
			return err
		}
		since, want = time.Time{}, l.filter.InCampaign
	}
	if reader.Topic, err = l.ledger(ctx, since); err != nil {
		return err
	}
	if campaigns != nil {
		reader.Topic.Until = time.Time{}
		campaigns.Ledger(reader.Topic)
	}
	counts := outcomes.NewSummary()
	err = reader.Each(ctx, want, func(o *outcomes.Record) bool {
		if campaigns != nil {
			campaigns.Settled(o)
		}
		if l.filter.Match(o) {
			counts.Add(o)
		}
		return true
	})
	if quiet(ctx, err) != nil {
		return err
	}
	return l.print(counts, campaigns)
}

// requested counts the requests of the campaigns.
func (l *looking) requested(ctx context.Context) (*outcomes.Campaigns, error) {
	requests, err := l.requests(ctx, l.RequestTopic)
	if err != nil {
		return nil, err
	}
	campaigns := outcomes.NewCampaigns(l.Campaign, requests)
	for _, topic := range requests {
		campaign := func(partition int, rec *records.Record) (string, bool) {
			id := outcomes.CampaignOf(consumer.Decode(topic.Name, partition, rec))
			return id, campaigns.Has(id)
		}
		if err := scan.Read(ctx, topic, campaign, campaigns.Requested); err != nil {
			return nil, err
		}
	}
	return campaigns, nil
}

func (l *looking) print(counts *outcomes.Summary, campaigns *outcomes.Campaigns) error {
	now := time.Now()
	if l.Format == "json" {
		report := counts.Report()
		if campaigns != nil {
			report.Campaigns = campaigns.Report(now)
		}
		return json.NewEncoder(l.env.stdout).Encode(report)
	}
	counts.Print(l.env.stdout)
	if campaigns != nil {
		campaigns.Print(l.env.stdout, now)
	}
	return nil
}
