package sizing

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"

	"smscancel/consumer/records"
	"smscancel/integration/broker"
	"smscancel/producer"
	"smscancel/worker"
	"smscancel/worker/metrics"
)

// An outcome takes in Kafka what the model says: one of a request with a campaign,
// as the worker's own writer appends it.
func TestAnOutcomeTakesWhatTheModelSays(t *testing.T) {
	const n = 500
	b, err := broker.Start(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	transport := &kafka.Transport{}
	t.Cleanup(func() { transport.CloseIdleConnections(); b.Close() })
	if err := b.Cluster.CreateTopic("outcomes", 1, nil); err != nil {
		t.Fatal(err)
	}
	client := &kafka.Client{Addr: kafka.TCP(b.Addr()), Transport: transport}
	ledger := &producer.Ledger{
		Client: client, Records: &records.Client{Transport: transport, Addr: client.Addr}, Topic: "outcomes", Partitions: 1,
		ClusterID: "jsYP6ZDXTnmSbW1UkGU8hA", Metrics: metrics.New(), Log: zerolog.Nop(),
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	appendAll(t, ctx, ledger, n)
	page, err := ledger.Records.Fetch(ctx, records.FetchRequest{Topic: "outcomes", MaxBytes: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	size, found := 0, 0
	for rec, err := range page.Records() {
		if err != nil {
			t.Fatal(err)
		}
		size += 16 + len(rec.Key) + len(rec.Value) // with the lengths and numbers
		for name, value := range rec.Headers.All() {
			size += 2 + len(name) + len(value)
		}
		found++
	}
	if got := float64(size) / float64(max(found, 1)); found != n || got < 0.9*Measured.Outcome || got > 1.1*Measured.Outcome {
		t.Errorf("%d outcomes of %.0f bytes, the model says %.0f", found, got, Measured.Outcome)
	}
}

func appendAll(t *testing.T, ctx context.Context, ledger *producer.Ledger, n int) {
	t.Helper()
	w, err := ledger.Fence(ctx, "sms.cancel.requests", 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	if err := w.Replay(ctx, 0, func(worker.Settled) {}, func(int64, int64) {}); err != nil {
		t.Fatal(err)
	}
	var receipts []worker.Receipt
	for i := range n {
		rec := &worker.Record{Topic: "sms.cancel.requests", Offset: int64(1_000_000 + i), Timestamp: time.Now()}
		req := &worker.Request{
			Target:    worker.Target{SubAccountID: "acme_shop", ID: fmt.Sprintf("9fa677ae-6b99-4215-85b3-%012x", i)},
			RequestID: fmt.Sprintf("sms.cancel.requests/0/%d", rec.Offset), CampaignID: "autumn-sale", ScheduledAt: "2030-05-04T09:00:00Z",
		}
		o := worker.NewOutcome(rec, req, ledger.ClusterID)
		one := 1
		o.Status, o.CancelledCount, o.Attempts = worker.StatusCancelled, &one, 1
		o.FirstAttemptAt, o.CompletedAt = worker.FormatTime(time.Now()), worker.FormatTime(time.Now())
		receipts = append(receipts, w.Append(o))
	}
	for _, r := range receipts {
		if _, err := r.Wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
}
