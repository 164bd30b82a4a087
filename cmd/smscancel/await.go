package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"smscancel/cmd/smscancel/outcomes"
	"smscancel/consumer/scan"
	"smscancel/producer"
	"smscancel/worker"
)

// settled is what became of requests.
type settled struct {
	*outcomes.Summary
	byStatus map[worker.Status]int64
}

// awaitOutcomes counts the outcomes of requests until each has its own, with a
// progress on out. Its error is why that is not so.
func awaitOutcomes(ctx context.Context, topic *scan.Topic, requestTopic string, places *producer.Places, out io.Writer) (settled, error) {
	counts := settled{outcomes.NewSummary(), map[worker.Status]int64{}}
	if places.Left() == 0 {
		return counts, nil
	}
	progress := startProgress(out, "outcomes", places.Total())
	defer progress.end()
	topic.Follow = true
	topic.Trouble = func(err error) {
		if err != nil {
			progress.note(fmt.Sprintf("waiting for Kafka: %v", err))
		}
	}
	follow := outcomes.Reader{Topic: topic}
	err := follow.Each(ctx, nil, func(o *outcomes.Record) bool {
		if o.Source.Topic == requestTopic && places.Settle(o.Source.Partition, o.Source.Offset) {
			counts.Add(o)
			counts.byStatus[o.Status]++
			progress.step(1)
		}
		return places.Left() > 0
	})
	return counts, err
}

// await follows the outcomes of all that was sent, and judges them.
func (d *delivery) await(ctx context.Context) error {
	for i := range d.outcomes.Parts {
		part := &d.outcomes.Parts[i]
		switch {
		case d.before == 0:
			part.From = part.To // as it was before anything was sent
		case d.journal != nil && i < len(d.journal.Outcomes):
			part.From = max(part.First, d.journal.Outcomes[i])
		}
	}
	counts, err := awaitOutcomes(ctx, d.outcomes, d.RequestTopic[0], &d.Places, d.messages)
	fmt.Fprintln(d.out)
	counts.Print(d.out)
	switch left := d.Places.Left(); {
	case left > 0 && errors.Is(err, context.Canceled):
		return fmt.Errorf("interrupted while %s of %s requests had no outcome yet: they are submitted, and settled as soon as a worker runs",
			grouped(left), grouped(d.Places.Total()))
	case left > 0:
		return fmt.Errorf("%s of %s requests have no outcome: %w", grouped(left), grouped(d.Places.Total()), err)
	}
	return counts.verdict()
}

// verdict is an error where something was not cancelled for want of success. A
// message that had been sent before (not_cancelled) is no failure of ours, and a
// duplicate was judged when it came first.
func (s settled) verdict() error {
	var bad []string
	for _, status := range []worker.Status{worker.StatusFailed, worker.StatusExpired, worker.StatusRejected} {
		if n := s.byStatus[status]; n > 0 {
			bad = append(bad, fmt.Sprintf("%s %s", grouped(n), status))
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("every request has its outcome, but not every one is a success: %s", strings.Join(bad, ", "))
	}
	return nil
}
