package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/segmentio/kafka-go"

	"smscancel/consumer/records"
	"smscancel/consumer/scan"
	"smscancel/producer"
	"smscancel/producer/submission"
	"smscancel/worker/status"
)

// delivery sends what was validated, and waits for the outcomes if wanted.
type delivery struct {
	*submit
	count    submission.Count
	client   *kafka.Client
	outcomes *scan.Topic // from where it ended before anything was sent; nil without --wait
	journal  *submission.Journal
	before   int64 // rows that an interrupted run has sent
}

func (d *delivery) run(ctx context.Context) error {
	topic := d.RequestTopic[0]
	client, disconnect := d.cluster.Client("smscancel-submit", topic, d.OutcomeTopic)
	defer disconnect()
	d.client, d.Requests = client, producer.NewRequests(client, topic)
	clusterID, err := d.prepare(ctx)
	if err != nil {
		return d.explained(err)
	}
	if err := d.resume(ctx, clusterID); err != nil {
		return d.explained(err)
	}
	if err := d.send(ctx); err != nil {
		return err
	}
	if d.Wait {
		err = d.await(ctx)
	}
	if over := !d.Wait || d.Places.Left() == 0; over && d.journal != nil {
		d.journal.Remove() //nolint:errcheck // then a later run finds that all was sent
	}
	return err
}

// prepare finds the topics, before anything is sent.
func (d *delivery) prepare(ctx context.Context) (clusterID string, err error) {
	if err := d.Requests.Open(ctx); err != nil {
		return "", err
	}
	meta, err := d.client.Metadata(ctx, &kafka.MetadataRequest{Topics: d.RequestTopic})
	if err != nil {
		return "", err
	}
	if !d.Wait {
		return meta.ClusterID, nil
	}
	n, err := producer.PartitionCount(ctx, d.client, d.OutcomeTopic)
	if err == nil {
		d.outcomes, err = scan.Find(ctx, d.records(), d.OutcomeTopic, n, false, time.Time{})
	}
	return meta.ClusterID, err
}

func (d *delivery) records() *records.Client {
	return &records.Client{Transport: d.client.Transport, Addr: d.client.Addr}
}

// explained says what to do about an error from Kafka.
func (d *delivery) explained(err error) error {
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted, nothing was sent")
	}
	return explained(err, d.Brokers, "WRITE on the request topic, and with --wait READ on the outcome topic")
}

// resume finds out what an interrupted run has sent.
func (d *delivery) resume(ctx context.Context, clusterID string) error {
	key := submission.Key(d.Inputs, d.Check, clusterID, d.RequestTopic[0])
	if key == "" {
		return nil // a stream: nobody can tell whether it is the same again
	}
	err := d.open(key)
	if err == nil && d.journal.Acknowledged > 0 && !d.Restart {
		var gone bool
		if gone, err = d.gone(ctx); err == nil && gone {
			fmt.Fprintf(d.messages, "%s is not the topic any more that an interrupted run has sent to: sending every row\n", d.RequestTopic[0])
			d.Restart = true
		}
		if err != nil {
			d.journal.Close() //nolint:errcheck // it was only read
			return err
		}
	}
	if err == nil && d.journal.Acknowledged > 0 && d.Restart {
		if err = d.journal.Remove(); err == nil {
			err = d.open(key)
		}
	}
	if err != nil {
		d.unkept(err)
		d.journal = nil
		return nil
	}
	if d.before = d.journal.Acknowledged; d.before > 0 {
		fmt.Fprintf(d.messages, "going on after %s of %s rows, which a run begun at %s has sent\n",
			grouped(d.before), grouped(d.count.Valid), d.journal.Begun.Local().Format(time.DateTime))
	}
	return nil
}

func (d *delivery) open(key string) (err error) {
	var ends []int64
	if d.outcomes != nil {
		for _, part := range d.outcomes.Parts {
			ends = append(ends, part.To)
		}
	}
	d.journal, err = submission.OpenJournal(d.stateDir, key, ends)
	return err
}

// unkept says that an interruption of this run would begin anew.
func (d *delivery) unkept(err error) {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	fmt.Fprintf(d.messages, "progress cannot be kept in %s: %v: if this run is interrupted, the next one sends every row again; name another --state-dir\n", d.stateDir, err)
}

// gone tells whether the topic was deleted and created again meanwhile.
func (d *delivery) gone(ctx context.Context) (bool, error) {
	for _, span := range d.journal.Spans {
		end, err := d.records().Latest(ctx, d.RequestTopic[0], span.Partition)
		if errors.Is(err, kafka.UnknownTopicOrPartition) {
			return true, nil
		}
		if err != nil || end < span.To {
			return err == nil, err
		}
	}
	return false, nil
}

func (d *delivery) send(ctx context.Context) error {
	if d.journal != nil {
		defer d.journal.Close() //nolint:errcheck // every line was synced
	}
	progress := startProgress(d.messages, "submitted", d.total(), d.before)
	d.Sent, d.Unkept = progress.step, d.unkept
	d.Requests.Trouble = func(err error) {
		progress.note("waiting for Kafka: " + status.Reason(err))
	}
	err := d.Send(ctx, d.journal)
	progress.end()
	d.list.end()
	if err != nil {
		return d.stopped(err)
	}
	fmt.Fprintf(d.out, "submitted %s requests to %s", grouped(d.Places.Total()-d.before), d.RequestTopic[0])
	if d.before > 0 {
		fmt.Fprintf(d.out, ", %s before", grouped(d.before))
	}
	if d.count.Invalid > 0 {
		fmt.Fprintf(d.out, "; %s rows were left out", grouped(d.count.Invalid))
	}
	fmt.Fprintln(d.out)
	return nil
}

// total is how many rows there are; 0 where a stream is among them.
func (d *delivery) total() int64 {
	for _, in := range d.Inputs {
		if in.Stream != nil {
			return 0
		}
	}
	return d.count.Valid
}

// stopped says how far it came, and how to go on.
func (d *delivery) stopped(err error) error {
	acknowledged := int64(0)
	if stop := (*submission.Stopped)(nil); errors.As(err, &stop) {
		acknowledged = stop.Acknowledged
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	next := "run the same command again to go on behind them"
	if d.journal == nil {
		next = "they will be sent again if the same rows are submitted again"
	}
	return fmt.Errorf("%w; %s rows were sent: %s", err, grouped(acknowledged), next)
}
