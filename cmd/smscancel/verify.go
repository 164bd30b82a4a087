package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/segmentio/kafka-go"

	"smscancel/cmd/smscancel/outcomes"
	"smscancel/consumer"
	"smscancel/consumer/records"
	"smscancel/consumer/scan"
	"smscancel/producer"
	"smscancel/worker/audit"
)

// verify reads requests and outcomes whole and holds them against each other. Its
// error says that something is wrong.
func (l *looking) verify(ctx context.Context, strays *outcomes.Reader) error {
	v := &verification{looking: l}
	if err := v.begin(ctx); err != nil {
		return err
	}
	for _, topic := range v.requests {
		if err := v.readRequests(ctx, topic); err != nil {
			return err
		}
	}
	strays.Topic = v.ledger
	if err := v.readOutcomes(ctx, strays); err != nil {
		return err
	}
	report := v.audit.Finish()
	if n := strays.Strays; n > 0 {
		report.Add(audit.Finding{Kind: audit.Foreign, Request: "-", What: fmt.Sprintf("%d records are no outcomes, the first is %v", n, strays.Stray)}, n)
	}
	if err := v.judgeElsewhere(ctx, report); err != nil {
		return err
	}
	return l.tell(report)
}

// verification is one run of --verify.
type verification struct {
	*looking
	requests []*scan.Topic
	ledger   *scan.Topic
	audit    *audit.Audit
}

// begin finds out what there is to read. What has been committed has its outcome
// in the topic already: so the requests' ends come first, then the commits, then
// the outcomes' ends.
func (v *verification) begin(ctx context.Context) (err error) {
	if v.requests, err = v.topics.requests(ctx, v.RequestTopic); err != nil {
		return err
	}
	committed, err := v.committed(ctx, v.Group, v.requests)
	if err != nil {
		return err
	}
	if v.ledger, err = v.outcomes(ctx, v.OutcomeTopic, time.Time{}); err != nil {
		return err
	}
	ledgers, err := v.ledgers(ctx)
	if err != nil {
		return err
	}
	meta, err := v.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{v.OutcomeTopic}})
	if err != nil {
		return fmt.Errorf("read the cluster's id: %w", err)
	}
	var sources []audit.Source
	for _, topic := range v.requests {
		for _, part := range topic.Parts {
			sources = append(sources, audit.Source{Topic: topic.Name, Partition: part.Partition, First: part.First, End: part.To,
				Committed: committed[topic.Name][part.Partition]})
		}
	}
	v.audit = audit.New(meta.ClusterID, sources, ledgers)
	return nil
}

// ledgers is what retention has left of the outcomes.
func (v *verification) ledgers(ctx context.Context) ([]audit.Ledger, error) {
	ledger := producer.Ledger{Client: v.client, Records: v.records, Topic: v.OutcomeTopic, Partitions: len(v.ledger.Parts)}
	all := make([]audit.Ledger, len(v.ledger.Parts))
	for p := range all {
		bounds, err := ledger.Bounds(ctx, p, time.Time{})
		if err != nil {
			return nil, err
		}
		all[p] = audit.Ledger{Deleted: bounds.First > 0, Oldest: bounds.Oldest}
	}
	return all, nil
}

func (v *verification) readRequests(ctx context.Context, topic *scan.Topic) error {
	count, end := v.progress("requests", topic)
	defer end()
	note := func(partition int, rec *records.Record) (struct{}, bool) {
		count()
		v.audit.Request(consumer.Decode(topic.Name, partition, rec))
		return struct{}{}, false
	}
	return scan.Read(ctx, topic, note, func(struct{}) bool { return true })
}

func (v *verification) readOutcomes(ctx context.Context, reader *outcomes.Reader) error {
	count, end := v.progress("outcomes", v.ledger)
	defer end()
	return outcomes.Each(ctx, reader, func(o *outcomes.Record, rec *records.Record) (*audit.Outcome, bool) {
		count()
		written, err := producer.ReadWritten(rec)
		return v.audit.Read(o.Outcome, o.Partition, o.Offset, rec.Key, audit.Header(written), err), true
	}, func(o *audit.Outcome) bool {
		v.audit.Outcome(o)
		return true
	})
}

// progress shows how much of a topic is read. count is called once a record, by
// several goroutines.
func (v *verification) progress(what string, topic *scan.Topic) (count, end func()) {
	const step = 1000
	bar := startProgress(v.stderr, what, topic.Len())
	var n atomic.Int64
	return func() {
			if n.Add(1)%step == 0 {
				bar.step(step)
			}
		}, func() {
			bar.step(n.Load() % step)
			bar.end()
		}
}

// judgeElsewhere decides about the outcomes of topics that were not read: if a
// topic does not exist, they are of no request.
func (v *verification) judgeElsewhere(ctx context.Context, report *audit.Report) error {
	for _, topic := range slices.Sorted(maps.Keys(report.Elsewhere)) {
		exists, err := v.exists(ctx, topic)
		if err != nil {
			return err
		}
		if n := report.Elsewhere[topic]; !exists {
			delete(report.Elsewhere, topic)
			report.Add(audit.Finding{Kind: audit.Foreign, Request: topic, What: fmt.Sprintf("%d outcomes are of this topic, which does not exist", n)}, n)
		}
	}
	return nil
}

// exists asks with another client: one knows only the topics that it was made for.
func (v *verification) exists(ctx context.Context, topic string) (bool, error) {
	if !topicName.MatchString(topic) {
		return false, nil
	}
	client, disconnect := v.cluster.Client("smscancel", topic)
	defer disconnect()
	_, err := producer.PartitionCount(ctx, client, topic)
	if errors.Is(err, kafka.UnknownTopicOrPartition) {
		return false, nil
	}
	return err == nil, err
}

// tell shows the report. Its error sums up what is wrong.
func (l *looking) tell(report *audit.Report) (err error) {
	if l.Format == "json" {
		err = json.NewEncoder(l.env.stdout).Encode(report)
	} else {
		err = printReport(l.env.stdout, report, l.OutcomeTopic)
	}
	var wrong []string
	for _, kind := range audit.Kinds() {
		if n := report.Count[kind]; n > 0 && (kind != audit.Pending || !l.AllowPending) {
			wrong = append(wrong, fmt.Sprintf("%d %s", n, kind))
		}
	}
	if err == nil && len(wrong) > 0 {
		err = errors.New("verify: not every request has exactly one outcome: " + strings.Join(wrong, ", "))
	}
	return err
}

func printReport(w io.Writer, r *audit.Report, ledger string) error {
	fmt.Fprintf(w, "%d requests, %d outcomes: %d lost, %d pending, %d second, %d foreign\n", r.Requests, r.Outcomes,
		r.Count[audit.Lost], r.Count[audit.Pending], r.Count[audit.Second], r.Count[audit.Foreign])
	for _, note := range []struct {
		n    int64
		text string
	}{
		{r.RequestsDeleted, "outcomes are of requests that retention has deleted: they were checked by themselves"},
		{r.OutcomesDeleted, "requests are older than the outcomes that retention has left: whether they had one cannot be told"},
		{r.Later, "outcomes are of requests that came after this began"},
	} {
		if note.n > 0 {
			fmt.Fprintln(w, note.n, note.text)
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(r.Elsewhere)) {
		fmt.Fprintf(w, "%d outcomes are of topic %s and were not verified: name it with --request-topic\n", r.Elsewhere[topic], oneLine(topic))
	}
	if len(r.Findings) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nKIND\tREQUEST\tOUTCOME\tWHAT")
	listed := map[audit.Kind]int64{}
	for _, f := range r.Findings {
		listed[f.Kind]++
		outcome := "-"
		if f.Outcome != "" {
			outcome = ledger + "/" + f.Outcome
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", f.Kind, oneLine(f.Request), outcome, oneLine(f.What))
	}
	for _, kind := range audit.Kinds() {
		if more := r.Count[kind] - listed[kind]; more > 0 && listed[kind] >= audit.MaxListed {
			fmt.Fprintf(t, "%s\t\t\tand %d more\n", kind, more)
		}
	}
	return t.Flush()
}
