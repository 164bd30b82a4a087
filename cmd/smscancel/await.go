package main

import (
	"context"
	"io"

	"smscancel/cmd/smscancel/outcomes"
	"smscancel/consumer/scan"
	"smscancel/producer"
)

// awaitOutcomes counts the outcomes of requests until each has its own, with a
// progress on out. Its error is why that is not so.
func awaitOutcomes(ctx context.Context, topic *scan.Topic, requestTopic string, places *producer.Places, out io.Writer) (*outcomes.Summary, error) {
	counts := outcomes.NewSummary()
	if places.Left() == 0 {
		return counts, nil
	}
	progress := startProgress(out, "outcomes", places.Total())
	defer progress.end()
	topic.Follow = true
	follow := outcomes.Reader{Topic: topic}
	err := follow.Each(ctx, nil, func(o *outcomes.Record) bool {
		if o.Source.Topic == requestTopic && places.Settle(o.Source.Partition, o.Source.Offset) {
			counts.Add(o)
			progress.step(1)
		}
		return places.Left() > 0
	})
	return counts, err
}
