package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"smscancel/cmd/smscancel/process"
)

// flushTime is how long a stop may take for the last spans, at most.
const flushTime = 5 * time.Second

// tracing sends spans to the collector that OpenTelemetry's environment
// variables name. It is no part of the work: a collector that hangs or is gone
// costs spans, and nothing else.
type tracing struct {
	provider *sdk.TracerProvider
	exporter *exporter
}

// runTraced runs a worker, with traces if they are asked for. The last spans are
// sent within what the stop has left of the time that it may take.
func runTraced(ctx context.Context, env environment, log zerolog.Logger, cfg process.Config, run func(process.Config) error) error {
	if !tracesWanted(env.lookup, log) {
		return run(cfg)
	}
	cfg.Instance = process.InstanceName()
	t, err := startTracing(ctx, cfg, log)
	if err != nil {
		log.Warn().Err(err).Msg("no traces")
		return run(cfg)
	}
	cfg.Traces = t.provider
	var stopped atomic.Pointer[time.Time] // when the stop began; nil when the worker ended by itself
	defer context.AfterFunc(ctx, func() { stopped.Store(new(time.Now())) })()
	err = run(cfg)
	t.stop(flushWithin(cfg.DrainTimeout, stopped.Load()), log)
	return err
}

// flushWithin is what a stop has left for the last spans.
func flushWithin(drain time.Duration, stopped *time.Time) time.Duration {
	if stopped != nil {
		drain -= time.Since(*stopped)
	}
	return min(flushTime, drain)
}

// tracesWanted tells whether the environment asks for traces.
func tracesWanted(lookup func(string) (string, bool), log zerolog.Logger) bool {
	value := func(name string) string { v, _ := lookup(name); return v }
	endpoint, name := value("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	if endpoint == "" {
		endpoint, name = value("OTEL_EXPORTER_OTLP_ENDPOINT"), "OTEL_EXPORTER_OTLP_ENDPOINT"
	}
	exporter := value("OTEL_TRACES_EXPORTER")
	if endpoint == "" || exporter == "none" || strings.EqualFold(value("OTEL_SDK_DISABLED"), "true") {
		return false
	}
	u, err := url.Parse(endpoint)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		log.Warn().Str("variable", name).Msg("no traces: the endpoint must be http://HOST:PORT or https://HOST:PORT")
		return false
	case exporter != "" && exporter != "otlp":
		log.Warn().Str("OTEL_TRACES_EXPORTER", exporter).Msg("no traces: the exporter must be otlp or none")
		return false
	}
	return true
}

// startTracing reads the rest of the environment through the SDK: sampler,
// limits, queue, headers, certificates.
func startTracing(ctx context.Context, cfg process.Config, log zerolog.Logger) (*tracing, error) {
	otel.SetLogger(logr.New(sdkLog{log}))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn().Err(err).Msg("OpenTelemetry") }))
	ctx = context.WithoutCancel(ctx)
	what, err := resource.New(ctx, resource.WithSchemaURL(semconv.SchemaURL), resource.WithAttributes(
		semconv.ServiceName("smscancel"), semconv.ServiceVersion(cfg.Version), semconv.ServiceInstanceID(cfg.Instance)),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		log.Warn().Err(err).Msg("traces do not tell everything about this worker")
	}
	otlp, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("exporter of the traces: %w", err)
	}
	e := &exporter{SpanExporter: otlp, log: log}
	log.Info().Msg("traces are on")
	return &tracing{sdk.NewTracerProvider(sdk.WithBatcher(e), sdk.WithResource(what)), e}, nil
}

// stop sends what is left, and gives up after the given time.
func (t *tracing) stop(within time.Duration, log zerolog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if err := t.provider.Shutdown(ctx); ctx.Err() != nil {
		log.Warn().Err(err).Msg("the last traces were not sent in time")
	}
	t.exporter.Shutdown(ctx) //nolint:errcheck // it ends an export that hangs
}

// exporter tells the log when the collector stops taking spans, and when it
// takes them again. Exports come one after another.
type exporter struct {
	sdk.SpanExporter
	log     zerolog.Logger
	failing bool
}

// maxReason is how much is shown of what a collector says.
const maxReason = 500

// ExportSpans implements the SDK's SpanExporter.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	switch {
	case err != nil && !e.failing:
		e.log.Warn().Str("error", fmt.Sprintf("%.*s", maxReason, err)).Msg("traces cannot be sent; the work goes on")
	case err == nil && e.failing:
		e.log.Info().Msg("traces are sent again")
	}
	e.failing = err != nil
	return nil
}

// sdkLog takes the mistakes that the SDK finds in its variables. It leaves out
// their values: a token for the collector may stand in one.
type sdkLog struct{ zerolog.Logger }

// Error implements logr.LogSink.
func (l sdkLog) Error(_ error, msg string, _ ...any) {
	l.Warn().Str("reason", msg).Msg("OpenTelemetry's variables")
}

// Info implements logr.LogSink.
func (sdkLog) Info(int, string, ...any) {}

// Init implements logr.LogSink.
func (sdkLog) Init(logr.RuntimeInfo) {}

// Enabled implements logr.LogSink.
func (sdkLog) Enabled(int) bool { return false }

// WithValues implements logr.LogSink.
func (l sdkLog) WithValues(...any) logr.LogSink { return l }

// WithName implements logr.LogSink.
func (l sdkLog) WithName(string) logr.LogSink { return l }
