package api

import (
	"context"
	"net/url"
	"strconv"

	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"smscancel/worker"
)

// span begins the span of one attempt, after OpenTelemetry's conventions for HTTP
// clients, and lets the call carry its context instead of the request's. It is
// nil without tracing, and for a target that cannot be called.
func (c *Client) span(ctx context.Context, call *worker.Call) trace.Span {
	if c.tracer == nil {
		return nil
	}
	u, err := c.target(call.Target)
	if err != nil {
		return nil
	}
	_, span := c.tracer.Start(ctx, "DELETE", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		semconv.HTTPRequestMethodDelete,
		semconv.ServerAddress(u.Hostname()),
		semconv.ServerPort(portOf(u)),
		semconv.URLFull(u.String()),
	))
	if call.Resend > 0 {
		span.SetAttributes(semconv.HTTPRequestResendCount(call.Resend))
	}
	if parent, state := worker.TraceContext(span); parent != "" {
		call.TraceParent, call.TraceState = parent, state
	}
	return span
}

// endSpan tells how the attempt ended. One that was called off leaves no span:
// nothing was sent.
func endSpan(span trace.Span, a Attempt, v worker.Verdict) {
	if span == nil || v.NoCall {
		return
	}
	if a.HTTPStatus != 0 {
		span.SetAttributes(semconv.HTTPResponseStatusCode(a.HTTPStatus))
	}
	if v.Err != nil {
		span.SetAttributes(semconv.ErrorTypeKey.String(string(v.Err.Kind)))
		description := ""
		if a.HTTPStatus == 0 { // else it says enough
			description = v.Err.Message
		}
		span.SetStatus(codes.Error, description)
	}
	span.End(trace.WithTimestamp(a.At))
}

func portOf(u *url.URL) int {
	if n, err := strconv.Atoi(u.Port()); err == nil {
		return n
	}
	if u.Scheme == "http" {
		return 80
	}
	return 443
}
