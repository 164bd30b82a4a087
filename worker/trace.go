package worker

import (
	"context"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Tracing makes a span of each record in hand, after OpenTelemetry's conventions
// for messaging. The zero value makes none: the trace context of a request is
// then carried on as it came.
type Tracing struct {
	Tracer     trace.Tracer         // nil = no spans
	Attributes []attribute.KeyValue // of every span: who consumes
}

// startSpan begins the record's span, below the one that its request names. What
// comes after, calls and outcome, goes on from this span.
func (j *Job) startSpan() {
	t := &j.p.Tracing
	if t.Tracer == nil {
		return
	}
	o := j.base
	parent := propagation.TraceContext{}.Extract(context.Background(),
		propagation.MapCarrier{"traceparent": o.TraceParent, "tracestate": o.TraceState})
	_, span := t.Tracer.Start(parent, "process "+o.Source.Topic, trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithTimestamp(j.taken), trace.WithAttributes(t.Attributes...), trace.WithAttributes(
			semconv.MessagingSystemKafka,
			semconv.MessagingOperationName("process"),
			semconv.MessagingOperationTypeProcess,
			semconv.MessagingDestinationName(o.Source.Topic),
			semconv.MessagingDestinationPartitionID(strconv.Itoa(o.Source.Partition)),
			semconv.MessagingKafkaOffset(int(o.Source.Offset)),
			semconv.MessagingMessageID(o.RequestID),
		))
	j.span = span
	if parent, state := TraceContext(span); parent != "" {
		o.TraceParent, o.TraceState = parent, state
	}
}

// endSpan tells how the record ended. An error means without an outcome of ours:
// it was handed back, and whoever handles it next makes a span of its own.
func (j *Job) endSpan(o *Outcome, err error) {
	if j.span == nil {
		return
	}
	defer j.span.End()
	if err != nil {
		j.span.SetAttributes(attribute.Bool("smscancel.handed_back", true), attribute.Int("smscancel.attempts", j.attempts))
		return
	}
	j.span.SetAttributes(
		attribute.String("smscancel.outcome.id", o.OutcomeID),
		attribute.String("smscancel.outcome.status", string(o.Status)),
		attribute.Int("smscancel.attempts", o.Attempts),
		attribute.Bool("smscancel.ambiguous", o.Ambiguous),
	)
	if o.Error != nil {
		j.span.SetAttributes(attribute.String("smscancel.outcome.kind", string(o.Error.Kind)))
	}
	if o.Status == StatusFailed || o.Status == StatusRejected {
		j.span.SetAttributes(semconv.ErrorTypeKey.String(string(kind(o.Error))))
		j.span.SetStatus(codes.Error, "")
	}
}

// spanned is a context for calls below the record's span.
func (j *Job) spanned(ctx context.Context) context.Context {
	if j.span == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, j.span)
}

// TraceContext is that of a span as W3C Trace Context writes it; empty for a
// span that belongs to no trace.
func TraceContext(span trace.Span) (parent, state string) {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(trace.ContextWithSpan(context.Background(), span), carrier)
	return carrier["traceparent"], carrier["tracestate"]
}
