// Package metrics declares every Prometheus metric of the worker in one place.
// Labels are bounded: never a umid, never a campaign.
//
// All parts of the worker write to it; the HTTP server of package status serves it.
package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics are the collectors of one process.
type Metrics struct {
	Registry *prometheus.Registry

	Requests       *prometheus.CounterVec // by topic
	outcomes       *prometheus.CounterVec // by status and error kind
	apiCalls       *prometheus.CounterVec // by HTTP status (0 = none) and error kind
	apiDuration    prometheus.Histogram
	outcomeLatency prometheus.Histogram
	InFlight       prometheus.Gauge
	Waiting        *prometheus.GaugeVec // by reason
	Hold           *prometheus.GaugeVec // by sub-account (empty: all) and reason
	FetchStopped   *prometheus.GaugeVec // by topic, partition and sub-account; 1 while it lasts
	Lag            *prometheus.GaugeVec // by topic and partition
	OldestAge      prometheus.Gauge
	DedupeEntries  prometheus.Gauge
	Replayed       prometheus.Counter
	Skipped        *prometheus.CounterVec // by topic
	Rebalances     prometheus.Counter
	Fenced         prometheus.Counter
	Unkeyed        prometheus.Counter
	LostRetention  prometheus.Counter
	ConfigLoaded   prometheus.Gauge // Unix seconds
	ConfigInForce  prometheus.Gauge // 1 or 0
	ConfigFailures prometheus.Counter
}

// New registers the metrics with a registry of their own.
func New() *Metrics {
	m := &Metrics{
		Registry:       prometheus.NewRegistry(),
		Requests:       counters("smscancel_requests_total", "Request records taken in hand.", "topic"),
		outcomes:       counters("smscancel_outcomes_total", "Durable outcomes.", "status", "kind"),
		apiCalls:       counters("smscancel_api_calls_total", "Calls to the API; http_status 0 means no answer.", "http_status", "kind"),
		apiDuration:    histogram("smscancel_api_call_duration_seconds", "Duration of one call to the API."),
		outcomeLatency: histogram("smscancel_outcome_latency_seconds", "From the request record's timestamp to its durable outcome."),
		InFlight:       gauge("smscancel_in_flight", "Calls to the API in flight."),
		Waiting:        gauges("smscancel_waiting", "Requests in hand that wait, by what they wait for.", "reason"),
		Hold:           gauges("smscancel_hold", "1 while a sub-account, or with an empty label all, may not call, by reason.", "sub_account", "reason"),
		FetchStopped:   gauges("smscancel_fetch_stopped", "1 while a partition fetches nothing because the requests in hand of a sub-account (empty: of several) leave no room in the window.", "topic", "partition", "sub_account"),
		Lag:            gauges("smscancel_lag_records", "Records between the watermark and the end of a request partition.", "topic", "partition"),
		OldestAge:      gauge("smscancel_oldest_request_age_seconds", "Age of the oldest request record in hand without an outcome."),
		DedupeEntries:  gauge("smscancel_dedupe_entries", "Settled messages remembered for duplicates."),
		Replayed:       counter("smscancel_replayed_records_total", "Ledger records read by replays."),
		Skipped:        counters("smscancel_skipped_requests_total", "Request records skipped because the ledger holds their outcome.", "topic"),
		Rebalances:     counter("smscancel_rebalances_total", "Generations of the consumer group this member took part in."),
		Fenced:         counter("smscancel_fenced_total", "Times that another writer took a ledger from this process."),
		Unkeyed:        counter("smscancel_unkeyed_requests_total", "Requests whose key or partition is not what the common partitioner gives."),
		LostRetention:  counter("smscancel_lost_to_retention_records_total", "Request records deleted by retention before they were read."),
		ConfigLoaded:   gauge("smscancel_config_last_reload_success_timestamp_seconds", "When the settings in force were taken over from the configuration file."),
		ConfigInForce:  gauge("smscancel_config_last_reload_successful", "0 while the configuration file as it stands cannot be used, and older settings are in force."),
		ConfigFailures: counter("smscancel_config_reload_failures_total", "Times that the configuration file was found changed, or gone, and could not be used."),
	}
	m.Registry.MustRegister(m.Requests, m.outcomes, m.apiCalls, m.apiDuration, m.outcomeLatency, m.InFlight, m.Waiting, m.Hold, m.FetchStopped, m.Lag,
		m.OldestAge, m.DedupeEntries, m.Replayed, m.Skipped, m.Rebalances, m.Fenced, m.Unkeyed, m.LostRetention, m.ConfigLoaded, m.ConfigInForce, m.ConfigFailures,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, reason := range []string{"retry", "budget", "breaker", "hold", "pause", "limit", "slot", "duplicate"} {
		m.Waiting.WithLabelValues(reason)
	}
	return m
}

// Called counts one call to the API.
func (m *Metrics) Called(httpStatus int, kind string, d time.Duration) {
	m.apiCalls.WithLabelValues(strconv.Itoa(httpStatus), kind).Inc()
	m.apiDuration.Observe(d.Seconds())
}

// Outcome counts one durable outcome, latency after its request's timestamp.
func (m *Metrics) Outcome(status, kind string, latency time.Duration) {
	m.outcomes.WithLabelValues(status, kind).Inc()
	m.outcomeLatency.Observe(max(latency, 0).Seconds())
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
}

func gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
}

func histogram(name, help string) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help,
		Buckets: []float64{.002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60, 300, 900, 3600}})
}
