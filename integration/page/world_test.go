package page

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"

	"smscancel/cmd/smscancel/process"
	"smscancel/integration/broker"
	"smscancel/integration/simulator"
	"smscancel/worker/api"
	"smscancel/worker/policy"
)

const partitions = 4

// world is a broker, an API and, one after another, workers at one address.
type world struct {
	t        *testing.T
	broker   *broker.Broker
	api      *simulator.Server
	writer   *kafka.Writer
	addr     string // of the page
	requests int    // that were sent
}

func newWorld(t *testing.T) *world {
	b, err := broker.Start(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	w := &world{t: t, broker: b, addr: "127.0.0.1:0"}
	settings := map[string]string{"retention.ms": "1209600000", "message.timestamp.type": "LogAppendTime"}
	if err := broker.CreateTopics(t.Context(), &kafka.Client{Addr: kafka.TCP(b.Addr())}, 1,
		broker.Topic{Name: "sms.cancel.requests", Partitions: partitions}, broker.Topic{Name: "sms.cancel.outcomes", Partitions: 1, Settings: settings}); err != nil {
		t.Fatal(err)
	}
	sim, err := simulator.New(simulator.Options{Scenario: &simulator.Scenario{SubAccounts: map[string]simulator.SubAccountRule{
		"acme_sick":   {Answer: simulator.Answer{Status: 503}},
		"acme_denied": {Foreign: true},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if w.api, err = sim.Start(context.Background(), simulator.ServerOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.api.Close)
	w.writer = &kafka.Writer{Addr: kafka.TCP(b.Addr()), Topic: "sms.cancel.requests", Balancer: kafka.Murmur2Balancer{Consistent: true},
		RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond}
	t.Cleanup(func() { _ = w.writer.Close() })
	return w
}

// start runs a worker until stop. The next one has the same address.
func (w *world) start(instance string, held policy.Rules) (stop func()) {
	keys, err := api.LiteralKey("a-key")
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := process.New(process.Config{
		Version: "test", Instance: instance, Cluster: process.Cluster{Brokers: []string{w.broker.Addr()}}, Group: "page",
		RequestTopics: []string{"sms.cancel.requests"}, OutcomeTopic: "sms.cancel.outcomes", SessionTimeout: 10 * time.Second,
		APIURL: w.api.URL(), Keys: keys, AttemptTimeout: 10 * time.Second, Window: 20000, Concurrency: 100,
		Live:         process.Live{RateLimit: 1800, RateLimitTotal: 3000, Held: held},
		RetryInitial: 100 * time.Millisecond, RetryMaxInterval: time.Second, RetryMaxElapsed: time.Minute, RetryAfterMax: time.Minute,
		DedupeWindow: 24 * time.Hour, HTTPAddr: w.addr, DrainTimeout: 10 * time.Second,
	}, zerolog.Nop())
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	listening, ended := make(chan string, 1), make(chan error, 1)
	go func() { ended <- p.Run(ctx, func(addr string) { listening <- addr }) }()
	select {
	case w.addr = <-listening:
	case err := <-ended:
		w.t.Fatal(err)
	}
	over := false
	stop = func() {
		if cancel(); !over {
			over = true
			if err := <-ended; err != nil {
				w.t.Error(err)
			}
		}
	}
	w.t.Cleanup(stop)
	return stop
}

// send publishes n requests.
func (w *world) send(n int, fields func(i int) map[string]any) {
	w.t.Helper()
	records := make([]kafka.Message, n)
	for i := range records {
		request := fields(i)
		if request["umid"] == nil {
			request["umid"] = uuid.NewString()
		}
		value, err := json.Marshal(request)
		if err != nil {
			w.t.Fatal(err)
		}
		records[i] = kafka.Message{Key: []byte(fmt.Sprint(request["umid"])), Value: value}
	}
	if err := w.writer.WriteMessages(w.t.Context(), records...); err != nil {
		w.t.Fatal(err)
	}
	w.requests += n
}

// tally is what the outcome topic says.
type tally struct {
	status    map[string]int
	campaigns map[string]map[string]int // by campaign and status
}

// outcomes reads the topic until it holds n outcomes.
func (w *world) outcomes(n int) tally {
	w.t.Helper()
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{w.broker.Addr()}, Topic: "sms.cancel.outcomes", MaxWait: 50 * time.Millisecond})
	defer r.Close()
	found := tally{status: map[string]int{}, campaigns: map[string]map[string]int{}}
	for n > 0 {
		record, err := r.ReadMessage(w.t.Context())
		if err != nil {
			w.t.Fatalf("%d outcomes are missing: %v", n, err)
		}
		if len(record.Headers) == 0 { // a control marker
			continue
		}
		var o struct{ Status, CampaignID string }
		if err := json.Unmarshal(record.Value, &o); err != nil {
			w.t.Fatal(err)
		}
		found.status[o.Status]++
		if found.campaigns[o.CampaignID] == nil {
			found.campaigns[o.CampaignID] = map[string]int{}
		}
		found.campaigns[o.CampaignID][o.Status]++
		n--
	}
	return found
}
