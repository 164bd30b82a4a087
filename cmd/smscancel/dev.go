package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"

	"smscancel/cmd/smscancel/process"
	"smscancel/consumer/records"
	"smscancel/consumer/scan"
	"smscancel/integration/broker"
	"smscancel/integration/simulator"
	"smscancel/producer"
	"smscancel/producer/rows"
)

const (
	devPartitions     = 3
	devAttemptTimeout = 2 * time.Second // so that the demonstration of a hang is short
)

// DevCmd is `smscancel dev`.
type DevCmd struct {
	Submit     string      `placeholder:"FILE" help:"Submit this file (CSV or NDJSON), show its outcomes, and end."`
	Scenario   string      `placeholder:"FILE" help:"What the simulator does with which message; default: FILE's name with .scenario.yaml, if it is there."`
	DataDir    string      `placeholder:"DIR" help:"Keep the broker's data here."`
	BrokerPort option[int] `default:"9092" placeholder:"PORT" help:"Port of the broker; a free one if it is taken [${default}]."`
	APIAddr    string      `name:"api-addr" default:"127.0.0.1:8088" placeholder:"HOST:PORT" help:"Where the API simulator listens [${default}]."`
	HTTPAddr   string      `name:"http-addr" default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Where the status page listens [${default}]."`
	LogFormat  string      `placeholder:"FORMAT" help:"console or json [console]."`
	LogLevel   string      `default:"warn" placeholder:"LEVEL" help:"debug, info, warn or error [${default}]."`
}

// Help is shown above the flags.
func (*DevCmd) Help() string {
	return `Without --submit it stays up, for other terminals and other Kafka clients.
Exit codes: 0 every request has its outcome, or Ctrl-C; 1 one is missing.

Examples:
  smscancel dev
  smscancel dev --submit integration/testdata/campaign.csv`
}

// Run starts broker, simulator, topics and worker. With a file it submits
// that, follows the outcomes and returns an error if one is missing; without,
// it stays up until ctx ends.
func (c *DevCmd) Run(ctx context.Context, env environment) error {
	var mistakes usageError
	logs := RunFlags{LogFormat: cmp.Or(c.LogFormat, "console"), LogLevel: c.LogLevel}
	logs.check(&mistakes)
	mistakes.want(c.BrokerPort.value >= 0 && c.BrokerPort.value < 1<<16, "broker-port", c.BrokerPort.value, "use a port, or 0 for any")
	mistakes.want(isListenAddr(c.APIAddr), "api-addr", c.APIAddr, "use HOST:PORT")
	mistakes.want(isListenAddr(c.HTTPAddr), "http-addr", c.HTTPAddr, "use HOST:PORT")
	for flag, file := range map[string]string{"submit": c.Submit, "scenario": c.Scenario} {
		_, err := os.Stat(file)
		mistakes.want(file == "" || err == nil, flag, file, fmt.Sprint(err))
	}
	if len(mistakes) > 0 {
		return mistakes
	}
	d := &dev{DevCmd: *c, env: env, log: logs.logger(env), out: env.stdout}
	return d.run(ctx)
}

// dev is the whole product in one process.
type dev struct {
	DevCmd
	env    environment
	log    zerolog.Logger
	out    io.Writer
	broker *broker.Broker
	api    *simulator.Server
	client *kafka.Client

	disconnect func() // the client
}

func (d *dev) run(ctx context.Context) error {
	if err := d.start(ctx); err != nil {
		return err
	}
	defer d.stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cfg, err := d.workerConfig()
	if err != nil {
		return err
	}
	return runTraced(ctx, d.env, d.log, cfg, func(cfg process.Config) error { return d.work(ctx, cancel, cfg) })
}

// work runs the worker until what dev was started for is done. stop ends ctx.
func (d *dev) work(ctx context.Context, stop func(), cfg process.Config) error {
	proc, err := process.New(cfg, d.log)
	if err != nil {
		return err
	}
	listening := make(chan string, 1)
	failed := make(chan error, 1)
	go func() { failed <- proc.Run(ctx, func(addr string) { listening <- addr }) }()
	select {
	case addr := <-listening:
		fmt.Fprintf(d.out, "broker  %s\napi     %s\nstatus  http://%s\n", d.broker.Addr(), d.api.URL(), addr)
	case err := <-failed:
		return err
	}
	work := d.wait
	if d.Submit != "" {
		work = d.submit
	}
	done := make(chan error, 1)
	go func() { done <- work(ctx) }()
	select {
	case err = <-done:
		stop()
		return errors.Join(err, <-failed)
	case err = <-failed:
		stop()
		return errors.Join(err, <-done)
	}
}

func (d *dev) start(ctx context.Context) (err error) {
	if d.Scenario == "" {
		d.Scenario = scenarioBeside(d.Submit)
	}
	var scenario *simulator.Scenario
	if d.Scenario != "" {
		if scenario, err = simulator.LoadScenario(d.Scenario); err != nil {
			return err
		}
	}
	limits := simulator.PublishedLimits()
	limits.Slack = 0.1 // the worker promises 1.1 times the limit in any second
	sim, err := simulator.New(simulator.Options{Scenario: scenario, Limits: limits})
	if err != nil {
		return err
	}
	if d.broker, err = broker.Start(broker.Options{Port: d.BrokerPort.value, DataDir: d.DataDir}); err != nil {
		return err
	}
	if d.api, err = sim.Start(context.WithoutCancel(ctx), simulator.ServerOptions{Addr: d.APIAddr, AnyPort: true}); err != nil {
		d.broker.Close()
		return err
	}
	d.client, d.disconnect = process.Cluster{Brokers: []string{d.broker.Addr()}}.Client("smscancel-dev", devRequestTopic, devOutcomeTopic)
	ctx, cancel := context.WithTimeout(ctx, process.IOTimeout)
	defer cancel()
	return broker.CreateTopics(ctx, d.client, 1,
		broker.Topic{Name: devRequestTopic, Partitions: devPartitions},
		broker.Topic{Name: devOutcomeTopic, Partitions: devPartitions, Settings: map[string]string{
			"retention.ms": "1209600000", "message.timestamp.type": "LogAppendTime"}})
}

const (
	devRequestTopic = "sms.cancel.requests"
	devOutcomeTopic = "sms.cancel.outcomes"
)

// scenarioBeside is the scenario file that belongs to a submitted file: the
// same name with .scenario.yaml.
func scenarioBeside(file string) string {
	path := strings.TrimSuffix(file, filepath.Ext(file)) + ".scenario.yaml"
	if _, err := os.Stat(path); file == "" || err != nil {
		return ""
	}
	return path
}

// workerConfig is that of `smscancel worker` with the addresses of this dev.
func (d *dev) workerConfig() (process.Config, error) {
	env := environment{
		args: []string{"worker", "--brokers", d.broker.Addr(), "--api-url", d.api.URL(), "--http-addr", d.freeHTTPAddr(),
			"--attempt-timeout", devAttemptTimeout.String(), "--request-topic", devRequestTopic, "--outcome-topic", devOutcomeTopic},
		lookup: func(name string) (string, bool) { return "dev", name == "SMSCANCEL_API_KEY" },
		stdout: io.Discard, stderr: io.Discard,
	}
	parsed, err := parse(env)
	if err != nil {
		return process.Config{}, err
	}
	var mistakes usageError
	cfg := parsed.(*WorkerCmd).config(env, &mistakes, func(error) {})
	if len(mistakes) > 0 {
		return cfg, mistakes
	}
	return cfg, nil
}

// freeHTTPAddr is the wanted address of the status page, with another port if
// that one is taken.
func (d *dev) freeHTTPAddr() string {
	l, err := net.Listen("tcp", d.HTTPAddr)
	if err == nil {
		l.Close()
		return d.HTTPAddr
	}
	host, _, err := net.SplitHostPort(d.HTTPAddr)
	if err != nil {
		return d.HTTPAddr // the worker will say what is wrong with it
	}
	return net.JoinHostPort(host, "0")
}

func (d *dev) stop() {
	d.disconnect()
	d.api.Close()
	d.broker.Close()
}

// wait stays up until Ctrl-C.
func (d *dev) wait(ctx context.Context) error {
	fmt.Fprintf(d.out, `
ready. In another terminal, for example:
  echo '{"umid":"2f9b6c1e-3d4a-4b5c-8d6e-7f8091a2b3c4","subAccountId":"acme_shop"}' | smscancel submit - --brokers %[1]s --wait
  smscancel outcomes --brokers %[1]s --follow --since 1h
  curl %[2]s/admin/summary
Ctrl-C ends it.
`, d.broker.Addr(), d.api.URL())
	<-ctx.Done()
	return nil
}

// submit publishes the file and waits for the outcome of each of its records.
func (d *dev) submit(ctx context.Context) error {
	topic, err := scan.Find(ctx, &records.Client{Transport: d.client.Transport, Addr: d.client.Addr}, devOutcomeTopic, devPartitions, false, time.Time{})
	if err != nil {
		return err
	}
	topic.FromEnds()
	places, err := d.publish(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "submitted %d requests from %s\n", places.Total(), d.Submit)
	if places.Total() == 0 {
		return nil
	}
	counts, err := awaitOutcomes(ctx, topic, devRequestTopic, places, d.out)
	fmt.Fprintln(d.out)
	counts.Print(d.out)
	if places.Left() > 0 {
		return fmt.Errorf("%d of %d requests have no outcome: %w", places.Left(), places.Total(), err)
	}
	return nil
}

// devBatch is how many rows are published together.
const devBatch = 1000

// publish sends the rows as they stand, also those that are no valid requests,
// and returns where they stand in the topic.
func (d *dev) publish(ctx context.Context) (*producer.Places, error) {
	file, err := rows.Open(d.Submit)
	if err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	requests, places := producer.NewRequests(d.client, devRequestTopic), &producer.Places{}
	var batch []producer.Request
	send := func() error {
		spans, err := requests.Publish(ctx, batch...)
		places.Add(spans...)
		batch = nil
		return err
	}
	for {
		row, err := file.Next()
		if errors.Is(err, io.EOF) {
			return places, send()
		}
		if err == nil && row.Value == nil {
			err = fmt.Errorf("%s:%d: %w", file.Name(), row.Line, row.Fault)
		}
		if err != nil {
			return places, fmt.Errorf("submit: %w", err)
		}
		if batch = append(batch, producer.Request{ID: rows.IDOf(row.Value), Value: bytes.Clone(row.Value)}); len(batch) == devBatch {
			if err := send(); err != nil {
				return places, err
			}
		}
	}
}
