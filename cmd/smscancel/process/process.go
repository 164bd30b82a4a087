// Package process is one worker, wired together: API client, ledger, handler
// and group member. It reads no flags and prints nothing. `smscancel worker` and
// `smscancel dev` run it, and the tests that bring a network of their own.
package process

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"smscancel/consumer"
	"smscancel/consumer/records"
	"smscancel/producer"
	"smscancel/worker"
	"smscancel/worker/admission"
	"smscancel/worker/api"
	"smscancel/worker/dedupe"
	"smscancel/worker/metrics"
	"smscancel/worker/policy"
	"smscancel/worker/status"
)

// windowBytes is the other limit of --window: values of records in hand.
const windowBytes = 64 << 20

// Config is what a worker runs with.
type Config struct {
	Version  string
	Instance string               // names this process in logs and User-Agent; empty = host name and a random part
	Traces   trace.TracerProvider // where spans go; nil = there are none

	Cluster        Cluster
	Group          string
	RequestTopics  []string // highest priority first
	OutcomeTopic   string
	SessionTimeout time.Duration

	APIURL            string
	APICAFile         string
	APIConnect        api.ConnectFunc // nil = TCP
	Keys              api.Keys
	DefaultSubAccount string
	AttemptTimeout    time.Duration

	Window      int
	Concurrency int
	Live                   // at the start
	Reload      ReloadFunc // nil = nothing changes while it runs

	RetryInitial     time.Duration
	RetryMaxInterval time.Duration
	RetryMaxElapsed  time.Duration // 0 = no limit
	RetryMaxAttempts int           // 0 = no limit
	RetryAfterMax    time.Duration
	AuthHold         time.Duration // 0 = requests do not wait for a better key

	DedupeWindow time.Duration
	HTTPAddr     string // empty = none
	DrainTimeout time.Duration
}

// Process is one worker.
type Process struct {
	cfg       Config
	log       zerolog.Logger
	api       *api.Client
	metrics   *metrics.Metrics
	recent    *status.Recent
	tally     *status.Tally
	tracer    trace.Tracer // nil = no traces
	admission *admission.Admission
	policy    *policy.Policy
	handler   *worker.Handler
	settings  settings

	mu       sync.Mutex
	consumer *consumer.Consumer // nil until the cluster was reached
	waiting  string             // what keeps the process from joining the group
}

// New makes a worker that Run starts.
func New(cfg Config, log zerolog.Logger) (*Process, error) {
	cfg.Instance = cmp.Or(cfg.Instance, InstanceName())
	p := &Process{cfg: cfg, metrics: metrics.New(), recent: &status.Recent{}, tally: status.NewTally(), waiting: "starting"}
	p.log = log.With().Str("instance", cfg.Instance).Logger()
	if cfg.Traces != nil {
		p.tracer = cfg.Traces.Tracer("smscancel", trace.WithInstrumentationVersion(cfg.Version), trace.WithSchemaURL(semconv.SchemaURL))
	}
	var err error
	p.api, err = api.New(api.Config{
		BaseURL: cfg.APIURL, Keys: cfg.Keys, CAFile: cfg.APICAFile, AttemptTimeout: cfg.AttemptTimeout, Connect: cfg.APIConnect,
		UserAgent: fmt.Sprintf("smscancel/%s (%s)", cfg.Version, cfg.Instance), Concurrency: cfg.Concurrency,
		Tracer: p.tracer,
	})
	if err != nil {
		return nil, err
	}
	p.wire()
	return p, nil
}

// Run works until ctx ends. listening is told the address of the status server,
// if there is one.
func (p *Process) Run(ctx context.Context, listening func(addr string)) error {
	defer p.api.Close()
	if p.cfg.HTTPAddr != "" {
		server, err := status.Listen(p.cfg.HTTPAddr, p.metrics.Registry, p.Status)
		if err != nil {
			return err
		}
		defer server.Close() //nolint:errcheck // the process ends
		listening(server.Addr())
	}
	if r := p.cfg.Held; r.PauseAll || len(r.SubAccounts)+len(r.Campaigns)+len(r.Withdrawn) > 0 {
		p.log.Warn().Dict("held", held(r)).Msg("the configuration file holds requests back")
	}
	if p.cfg.Reload != nil {
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // until the last request in hand is settled
		defer cancel()
		go p.reload(ctx)
	}
	return p.run(ctx)
}

// Metrics are those that the status server shows.
func (p *Process) Metrics() *metrics.Metrics { return p.metrics }

// InstanceName tells the processes of a host apart, in logs and User-Agent.
func InstanceName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s-%08x", host, rand.Uint32())
}

// wire makes the part of the worker that needs no Kafka.
func (p *Process) wire() {
	p.admission = admission.New(admission.Config{
		Concurrency: p.cfg.Concurrency, RatePerSubAccount: p.cfg.RateLimit, RateTotal: p.cfg.RateLimitTotal,
		OverridesPerSubAccount: p.cfg.SubAccountRate, RetryAfterMax: p.cfg.RetryAfterMax,
		SlowCall: p.cfg.AttemptTimeout / 2, Changed: p.changed,
	})
	p.policy = &policy.Policy{}
	p.adopt(p.cfg.Live)
	p.handler = &worker.Handler{
		Parser: worker.Parser{DefaultSubAccount: p.cfg.DefaultSubAccount}, Caller: p.api, Admission: p.admission, Policy: p.policy,
		Retry: worker.RetryPolicy{
			Initial: p.cfg.RetryInitial, MaxInterval: p.cfg.RetryMaxInterval,
			MaxElapsed: p.cfg.RetryMaxElapsed, MaxAttempts: p.cfg.RetryMaxAttempts,
		},
		AuthHold: p.cfg.AuthHold,
		Tracing: worker.Tracing{Tracer: p.tracer, Attributes: []attribute.KeyValue{
			semconv.MessagingConsumerGroupName(p.cfg.Group), semconv.MessagingClientID(p.cfg.Instance),
		}},
		Hasher: dedupe.NewHasher(), Metrics: p.metrics, Recent: p.recent, Tally: p.tally, Log: p.log,
	}
}

// run reaches the cluster, checks the ledger, and takes part in the group.
func (p *Process) run(ctx context.Context) error {
	topics := append([]string{p.cfg.OutcomeTopic}, p.cfg.RequestTopics...)
	client, disconnect := p.cfg.Cluster.Client(p.cfg.Instance, topics...)
	defer disconnect()
	ledger, err := p.openLedger(ctx, client, topics)
	if ledger == nil {
		return err
	}
	c := consumer.New(consumer.Config{
		Client: client, Records: ledger.Records, Dialer: p.cfg.Cluster.dialer(p.cfg.Instance), Brokers: []string{anyBroker},
		ClusterID: ledger.ClusterID, Group: p.cfg.Group, Topics: p.cfg.RequestTopics, OutcomeTopic: p.cfg.OutcomeTopic, N: ledger.Partitions,
		SessionTimeout: p.cfg.SessionTimeout, AttemptTimeout: p.cfg.AttemptTimeout, DrainTimeout: p.cfg.DrainTimeout,
		DedupeWindow: p.cfg.DedupeWindow, Window: p.cfg.Window, WindowBytes: windowBytes,
		Outcomes: outcomes{ledger}, Handler: p.handler, Log: p.log,
	})
	p.mu.Lock()
	p.consumer = c
	p.mu.Unlock()
	return c.Run(ctx)
}

// openLedger waits for brokers and topics, which are weather, and refuses an
// outcome topic that breaks the guarantees, which is a mistake. It returns nil
// without an error when ctx ended first.
func (p *Process) openLedger(ctx context.Context, client *kafka.Client, topics []string) (*producer.Ledger, error) {
	for pause := 200 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		ledger, found, err := p.inspect(ctx, client, topics)
		switch {
		case ctx.Err() != nil:
			return nil, nil
		case err == nil:
			for _, warning := range found.Warnings {
				p.log.Warn().Msg(warning)
			}
			if len(found.Fatal) > 0 {
				return nil, fmt.Errorf("the outcome topic breaks the guarantees: %s", strings.Join(found.Fatal, "; "))
			}
			return ledger, nil
		}
		p.waitFor(err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

func (p *Process) inspect(ctx context.Context, client *kafka.Client, topics []string) (*producer.Ledger, producer.Settings, error) {
	ctx, cancel := context.WithTimeout(ctx, IOTimeout)
	defer cancel()
	for _, topic := range topics {
		if _, err := producer.PartitionCount(ctx, client, topic); err != nil {
			return nil, producer.Settings{}, err
		}
	}
	meta, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: topics[:1]})
	if err != nil {
		return nil, producer.Settings{}, err
	}
	ledger := &producer.Ledger{
		Client: client, Records: &records.Client{Transport: client.Transport, Addr: client.Addr},
		Topic: p.cfg.OutcomeTopic, Partitions: len(meta.Topics[0].Partitions), ClusterID: meta.ClusterID, Metrics: p.metrics, Log: p.log,
	}
	if err := ledger.CheckWritten(ctx); err != nil {
		return nil, producer.Settings{}, err
	}
	found, err := ledger.CheckTopic(ctx, p.cfg.DedupeWindow, p.cfg.RequestTopics)
	return ledger, found, err
}

// waitFor notes what the process waits for, and says so when it is news.
func (p *Process) waitFor(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	reason := status.Reason(err)
	if p.waiting != reason {
		p.log.Warn().Err(err).Strs("brokers", p.cfg.Cluster.Brokers).Msg("waiting for Kafka")
	}
	p.waiting = reason
}

// Status is the answer of /api/status; it also refreshes the gauges.
func (p *Process) Status() status.Status {
	s := status.Status{Time: time.Now(), Outcomes: p.tally.Outcomes(), Instance: p.cfg.Instance, Version: p.cfg.Version, Partitions: []status.Partition{}, Errors: p.recent.List()}
	p.reportLimits(&s)
	p.reportHeld(&s)
	p.mu.Lock()
	c, waiting := p.consumer, p.waiting
	p.mu.Unlock()
	if c == nil {
		s.Reason = "waiting for Kafka: " + waiting
		return s
	}
	c.Report(&s)
	p.reportStopped(&s)
	explain(&s)
	return s
}

// outcomes gives the ledger the shape that the consumer asks for.
type outcomes struct{ *producer.Ledger }

// Fence implements consumer.Outcomes.
func (o outcomes) Fence(ctx context.Context, topic string, partition int) (consumer.Ledger, error) {
	w, err := o.Ledger.Fence(ctx, topic, partition)
	if err != nil {
		return nil, err
	}
	return w, nil
}
