package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"smscancel/cmd/smscancel/outcomes"
	"smscancel/cmd/smscancel/process"
	"smscancel/consumer"
	"smscancel/consumer/records"
	"smscancel/consumer/scan"
	"smscancel/producer"
	"smscancel/worker"
	"smscancel/worker/redrive"
)

// RedriveCmd is `smscancel redrive`.
type RedriveCmd struct {
	DryRun          bool        `help:"Print the requests, and send nothing."`
	MaxRedrives     option[int] `default:"3" placeholder:"N" help:"How often one message may be [${default}]."`
	WithoutSchedule bool        `help:"Also what has passed its scheduledAt."`

	SelectFlags `embed:""`
	KafkaFlags  `embed:""`
	TopicFlags  `embed:""`
	Config      string `placeholder:"FILE" help:"YAML file with these flags as keys."`
}

// Help is shown above the flags.
func (*RedriveCmd) Help() string {
	return `Those that are selected and the newest of their message, in the partition of the
original, with force. A second run sends nothing twice.
Exit codes: 0 done; 1 failed; 2 wrong usage.

Examples:
  smscancel redrive --brokers k1:9092 --since 2h --kind timeout --dry-run
  smscancel redrive --brokers k1:9092 --since 2h --kind timeout
  smscancel redrive --brokers k1:9092 --status expired --without-schedule`
}

// Run sends the requests.
func (c *RedriveCmd) Run(ctx context.Context, env environment) error {
	var mistakes usageError
	cluster, filter := c.values(&mistakes)
	if len(mistakes) > 0 {
		return mistakes
	}
	r := &redriving{RedriveCmd: c, env: env, filter: filter, book: redrive.NewBook(), skipped: map[redrive.Skip]int{}, example: map[redrive.Skip]string{}}
	r.topics = openTopics(cluster, env, append(slices.Clone(c.RequestTopic), c.OutcomeTopic)...)
	defer r.disconnect()
	err := r.run(ctx)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return fmt.Errorf("stopped after %d requests were sent; run it again for the rest, these are not sent twice", r.sent)
	}
	return explained(err, c.Brokers, "READ on the topics, WRITE on the request topics and DESCRIBE on the group")
}

// check notes the mistakes that can be found although others were found before.
func (c *RedriveCmd) check(mistakes *usageError) { c.values(mistakes) }

func (c *RedriveCmd) values(mistakes *usageError) (process.Cluster, outcomes.Filter) {
	cluster := c.cluster(mistakes)
	c.checkTopics(mistakes)
	mistakes.want(c.MaxRedrives.err != nil || c.MaxRedrives.value > 0, "max-redrives", c.MaxRedrives.value, "it must be above 0")
	return cluster, c.filter(mistakes, time.Now())
}

// redriving is one run of the command.
type redriving struct {
	*RedriveCmd
	*topics
	env    environment
	filter outcomes.Filter
	book   *redrive.Book

	requests map[string]*producer.Requests
	batch    map[string][]producer.Request
	sent     int
	skipped  map[redrive.Skip]int
	example  map[redrive.Skip]string
}

// run finds the newest outcome of each message, then what is pending, then sends.
// What was redriven before either has its outcome, which is the newest then, or
// stands at or behind what the group had committed: so the commits are read first.
func (r *redriving) run(ctx context.Context) error {
	requests, err := r.topics.requests(ctx, r.RequestTopic)
	if err != nil {
		return err
	}
	committed, err := r.committed(ctx, r.Group, requests)
	if err != nil {
		return err
	}
	ledger, err := r.outcomes(ctx, r.OutcomeTopic, r.filter.Since)
	if err != nil {
		return err
	}
	if err := r.prepare(requests).selectFrom(ctx, ledger); err != nil {
		return err
	}
	if r.book.Len() > 0 {
		if err := r.findPending(ctx, committed); err != nil {
			return err
		}
		if err := r.sendFrom(ctx, ledger); err != nil {
			return err
		}
	}
	r.tell()
	return nil
}

func (r *redriving) prepare(requests []*scan.Topic) *redriving {
	r.book.Max, r.book.DropSchedule, r.book.Now = r.MaxRedrives.value, r.WithoutSchedule, time.Now()
	r.book.Partitions = map[string]int{}
	r.requests, r.batch = map[string]*producer.Requests{}, map[string][]producer.Request{}
	for _, topic := range requests {
		r.book.Partitions[topic.Name] = len(topic.Parts)
		r.requests[topic.Name] = producer.NewRequests(r.client, topic.Name)
	}
	return r
}

func (r *redriving) selectFrom(ctx context.Context, ledger *scan.Topic) error {
	reader := outcomes.Reader{Topic: ledger}
	return reader.Each(ctx, nil, func(o *outcomes.Record) bool {
		r.book.Outcome(o.Outcome, redrive.Place{Partition: o.Partition, Offset: o.Offset}, r.filter.Match(o))
		return true
	})
}

// findPending looks for redriven requests without an outcome, also behind those of
// a transaction that is still open.
func (r *redriving) findPending(ctx context.Context, committed map[string]map[int]int64) error {
	for _, name := range r.RequestTopic {
		topic, err := r.find(ctx, name, false, time.Time{})
		if err != nil {
			return err
		}
		for p := range topic.Parts {
			part := &topic.Parts[p]
			part.From = max(part.From, committed[topic.Name][part.Partition])
		}
		redriven := func(partition int, rec *records.Record) (*worker.Request, bool) {
			if !bytes.Contains(rec.Value, []byte(redrive.CountKey)) {
				return nil, false
			}
			req, err := worker.Parser{}.Parse(consumer.Decode(topic.Name, partition, rec))
			return req, err == nil
		}
		if err := scan.Read(ctx, topic, redriven, func(req *worker.Request) bool { r.book.Request(req); return true }); err != nil {
			return err
		}
	}
	return nil
}

// sendFrom reads the outcomes once more, up to the same ends, and sends those
// that are to be redriven.
func (r *redriving) sendFrom(ctx context.Context, ledger *scan.Topic) (err error) {
	reader := outcomes.Reader{Topic: ledger}
	has := func(o *outcomes.Record) bool {
		return r.book.Has(o.Outcome, redrive.Place{Partition: o.Partition, Offset: o.Offset})
	}
	errRead := reader.Each(ctx, has, func(o *outcomes.Record) bool {
		err = r.send(ctx, o)
		return err == nil
	})
	if err == nil {
		err = errRead
	}
	for _, topic := range slices.Sorted(maps.Keys(r.batch)) {
		if err == nil {
			err = r.publish(ctx, topic)
		}
	}
	return err
}

// redriveBatch is how many requests are published together.
const redriveBatch = 1000

// send sends the request to the partition that the original stood in.
func (r *redriving) send(ctx context.Context, o *outcomes.Record) error {
	value, skip, what := r.book.Make(o.Outcome)
	if skip != "" {
		if r.skipped[skip]++; r.skipped[skip] == 1 {
			r.example[skip] = fmt.Sprintf("%s (%s)", o.OutcomeID, what)
		}
		return nil
	}
	if r.DryRun {
		r.sent++
		_, err := fmt.Fprintf(r.env.stdout, "%s\n", outcomes.SafeJSON(value))
		return err
	}
	topic, partition := o.Source.Topic, o.Source.Partition
	r.batch[topic] = append(r.batch[topic], producer.Request{ID: o.UMID + o.BatchID, Value: value, Partition: &partition})
	if len(r.batch[topic]) < redriveBatch {
		return nil
	}
	return r.publish(ctx, topic)
}

func (r *redriving) publish(ctx context.Context, topic string) error {
	spans, err := r.requests[topic].Publish(ctx, r.batch[topic]...)
	r.batch[topic] = nil
	for _, span := range spans {
		r.sent += int(span.To - span.From)
	}
	return err
}

// tell says what was sent and what was not.
func (r *redriving) tell() {
	out, did := r.env.stdout, "sent"
	if r.DryRun {
		out, did = r.env.stderr, "would send"
	}
	fmt.Fprintf(out, "%s %d requests\n", did, r.sent)
	for _, skip := range redrive.Skips() {
		if n := r.skipped[skip]; n > 0 {
			fmt.Fprintf(out, "skipped %d: %s; the first is %s\n", n, skip, oneLine(r.example[skip]))
		}
	}
}
