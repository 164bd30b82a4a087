package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"smscancel/cmd/smscancel/checkup"
	"smscancel/cmd/smscancel/process"
	"smscancel/producer"
	"smscancel/worker"
)

// TopicsCmd is `smscancel topics`.
type TopicsCmd struct {
	KafkaFlags `embed:""`
	TopicFlags `embed:""`

	Partitions        option[int]           `default:"0" placeholder:"N" help:"Partitions of request topics [12 for a new one]."`
	OutcomePartitions option[int]           `default:"0" placeholder:"N" help:"Partitions of the outcome topic, for its whole life [12 for a new one]."`
	Replication       option[int]           `default:"0" placeholder:"N" help:"Replicas [3, or one for each broker if there are fewer]."`
	Retention         option[time.Duration] `default:"168h" placeholder:"DURATION" help:"How long a new request topic keeps requests [${default}]."`
	OutcomeRetention  option[time.Duration] `default:"336h" placeholder:"DURATION" help:"How long a new outcome topic keeps outcomes [${default}]."`
	DedupeWindow      option[time.Duration] `default:"24h" placeholder:"DURATION" help:"That of the workers, which outcomes must outlast [${default}]."`
	DryRun            bool                  `help:"Create nothing: say what would be."`
	Config            string                `placeholder:"FILE" help:"YAML file with these flags as keys."`
}

// Help is shown above the flags.
func (*TopicsCmd) Help() string {
	return `Creates the topics that are missing and verifies those that are there, which it
never changes. Exit codes: 0 a worker can start; 1 it cannot, or nothing could
be said; 2 wrong usage.

Examples:
  smscancel topics --brokers kafka1:9092 --dry-run
  smscancel topics --brokers kafka1:9092 --partitions 24 --replication 3`
}

// newPartitions are those of a topic that is created: enough for some replicas.
const newPartitions = 12

// Run creates and verifies the topics.
func (c *TopicsCmd) Run(ctx context.Context, env environment) error {
	var mistakes usageError
	cluster := c.values(&mistakes)
	if len(mistakes) > 0 {
		return mistakes
	}
	client, disconnect := cluster.Client("smscancel-topics", append(c.RequestTopic, c.OutcomeTopic)...)
	defer disconnect()
	ctx, cancel := context.WithTimeout(ctx, process.IOTimeout)
	defer cancel()
	s := &topicSetup{TopicsCmd: c, client: client, out: env.stdout}
	err := s.run(ctx)
	if err != nil {
		return explainedTopics(err, c.Brokers)
	}
	if s.fatal > 0 {
		return fmt.Errorf("%d settings break the guarantees: no worker starts with them", s.fatal)
	}
	return nil
}

// check notes the mistakes that can be found although others were found before.
func (c *TopicsCmd) check(mistakes *usageError) { c.values(mistakes) }

func (c *TopicsCmd) values(mistakes *usageError) process.Cluster {
	cluster := c.cluster(mistakes)
	c.checkTopics(mistakes)
	for flag, n := range map[string]int{"partitions": c.Partitions.value, "outcome-partitions": c.OutcomePartitions.value, "replication": c.Replication.value} {
		mistakes.want(n >= 0, flag, n, "it must be 0 (as usual) or more")
	}
	for _, d := range []struct {
		flag  string
		given option[time.Duration]
	}{{"retention", c.Retention}, {"outcome-retention", c.OutcomeRetention}, {"dedupe-window", c.DedupeWindow}} {
		mistakes.want(d.given.err != nil || d.given.value > 0, d.flag, d.given.value, "it must be above 0")
	}
	mistakes.want(c.OutcomeRetention.err != nil || c.DedupeWindow.err != nil || c.OutcomeRetention.value >= c.DedupeWindow.value,
		"outcome-retention", c.OutcomeRetention.value, "it must not be less than --dedupe-window")
	return cluster
}

// explainedTopics says what to do about an error from Kafka.
func explainedTopics(err error, brokers []string) error {
	switch {
	case errors.Is(err, kafka.TopicAuthorizationFailed), errors.Is(err, kafka.ClusterAuthorizationFailed):
		return fmt.Errorf("%w: this user needs CREATE on the topic or the cluster; or let somebody else create it", err)
	case errors.Is(err, kafka.InvalidReplicationFactor):
		return fmt.Errorf("%w: there are fewer brokers than that, use a smaller --replication", err)
	}
	return explained(err, brokers, "DESCRIBE_CONFIGS on the topics")
}

// topicSetup is one run of the command.
type topicSetup struct {
	*TopicsCmd
	client *kafka.Client
	out    io.Writer
	fatal  int
}

func (s *topicSetup) run(ctx context.Context) error {
	plans := []producer.Plan{}
	for _, topic := range s.RequestTopic {
		plans = append(plans, producer.PlanRequests(topic, s.Partitions.value, s.Replication.value, s.Retention.value))
	}
	plans = append(plans, producer.PlanOutcomes(s.OutcomeTopic, s.OutcomePartitions.value, s.Replication.value, s.OutcomeRetention.value))
	there := map[string]int{}
	for _, plan := range plans {
		n, err := s.ensure(ctx, plan)
		if err != nil {
			return err
		}
		there[plan.Topic] = n
	}
	return s.verify(ctx, there)
}

// ensure creates the topic unless it is there, and returns how many partitions it has.
func (s *topicSetup) ensure(ctx context.Context, plan producer.Plan) (partitions int, err error) {
	layout, err := producer.LayoutOf(ctx, s.client, plan.Topic)
	if err != nil {
		return 0, err
	}
	if layout.Partitions > 0 {
		s.say("is there", plan.Topic, "%d partitions, %d replicas", layout.Partitions, layout.Replicas)
		s.report(plan.Compare(layout))
		return layout.Partitions, nil
	}
	if plan.Partitions == 0 {
		plan.Partitions = newPartitions
	}
	plan = plan.On(layout.Brokers)
	done := "would be created"
	if !s.DryRun {
		done, partitions = "created", plan.Partitions
		if err := plan.Create(ctx, s.client); err != nil {
			return 0, err
		}
	}
	s.say(done, plan.Topic, "%d partitions, %d replicas, %s", plan.Partitions, plan.Replication, shownSettings(plan.Settings))
	return partitions, nil
}

func shownSettings(all []producer.Setting) string {
	var texts []string
	for _, setting := range all {
		texts = append(texts, setting.Name+"="+setting.Value)
	}
	return strings.Join(texts, " ")
}

// verify compares what is there with what the workers need.
func (s *topicSetup) verify(ctx context.Context, there map[string]int) error {
	topics := checkup.Topics{Outcomes: s.OutcomeTopic, Partitions: there[s.OutcomeTopic], Window: s.DedupeWindow.value}
	for _, topic := range s.RequestTopic {
		if there[topic] > 0 {
			topics.Requests = append(topics.Requests, topic)
		}
	}
	found, err := topics.Settings(ctx, s.client)
	for passing(err) && worker.Sleep(ctx, 100*time.Millisecond) == nil { // the leaders of a new topic do not know it at once
		found, err = topics.Settings(ctx, s.client)
	}
	s.report(found)
	return err
}

// passing tells whether a broker says that it may answer otherwise in a moment.
func passing(err error) bool {
	var said kafka.Error
	return errors.As(err, &said) && said.Temporary()
}

func (s *topicSetup) say(what, topic, format string, args ...any) {
	fmt.Fprintf(s.out, "%-17s%s: %s\n", what, topic, fmt.Sprintf(format, args...))
}

func (s *topicSetup) report(found producer.Settings) {
	for _, text := range found.Fatal {
		fmt.Fprintf(s.out, "%-17s%s\n", "BREAKS", text)
	}
	for _, text := range found.Warnings {
		fmt.Fprintf(s.out, "%-17s%s\n", "warning", text)
	}
	s.fatal += len(found.Fatal)
}
