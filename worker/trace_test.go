package worker

import (
	"context"
	"fmt"
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"smscancel/worker/admission"
	"smscancel/worker/dedupe"
	"smscancel/worker/metrics"
	"smscancel/worker/status"
)

// BenchmarkHandle is one record from the log to its outcome, without Kafka and
// HTTP: what the worker itself costs, with traces and without.
func BenchmarkHandle(b *testing.B) {
	for name, tracer := range map[string]trace.Tracer{"traces=off": nil, "traces=on": sdk.NewTracerProvider().Tracer("")} {
		b.Run(name, func(b *testing.B) {
			p := &Partition{
				Handler: &Handler{
					Caller:    callerFunc(func(context.Context, Target) Verdict { return cancelled(1) }),
					Admission: admission.New(admission.Config{Concurrency: 100}), Hasher: dedupe.NewHasher(), Metrics: metrics.New(),
					Recent: &status.Recent{}, Tally: status.NewTally(), Tracing: Tracing{Tracer: tracer},
				},
				ClusterID: "c", Topic: "requests", Ledger: forgetful{}, Permit: permitAll{}, Index: dedupe.NewIndex(time.Minute), Inherited: -1,
			}
			p.Open()
			rec := &Record{Topic: "requests", Timestamp: time.Now(), Headers: []Header{
				header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")}}
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				rec.Offset, rec.Value = int64(n), fmt.Appendf(rec.Value[:0], `{"umid":"u-%08d","subAccountId":"sub-1"}`, n)
				j := p.Read(rec)
				j.Begin()
				if _, err := j.Run(b.Context(), b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// forgetful is a ledger that keeps nothing.
type forgetful struct{}

func (forgetful) Append(*Outcome) Receipt                       { return forgetful{} }
func (forgetful) Wait(context.Context) (int64, error)           { return 0, nil }
func (forgetful) Read(context.Context, int64) (*Outcome, error) { return nil, nil }
