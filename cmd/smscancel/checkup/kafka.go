package checkup

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"

	"smscancel/consumer"
	"smscancel/consumer/records"
	"smscancel/producer"
	"smscancel/worker"
	"smscancel/worker/status"
)

// kafka makes the steps from the brokers' names to the topics' settings.
func (c *Checkup) kafka(ctx context.Context) {
	reached := false
	for _, broker := range c.Cluster.Brokers {
		reached = c.broker(ctx, broker) || reached
	}
	if !reached {
		c.skip("Kafka", "no broker can be used", "")
		return
	}
	client, disconnect := c.Cluster.Client("smscancel-check", append([]string{c.OutcomeTopic}, c.RequestTopics...)...)
	defer disconnect()
	k := &cluster{c, client, &records.Client{Transport: client.Transport, Addr: client.Addr}}
	if !k.login(ctx) {
		return
	}
	there := map[string]int{}
	for _, topic := range c.RequestTopics {
		there[topic] = k.topic(ctx, topic)
	}
	there[c.OutcomeTopic] = k.topic(ctx, c.OutcomeTopic)
	k.settings(ctx, there)
	k.group(ctx)
	k.transaction(ctx)
}

// broker reaches one, with TLS if that is wanted.
func (c *Checkup) broker(ctx context.Context, address string) bool {
	what := "broker " + address
	if !c.reach(ctx, what, address) {
		return false
	}
	if c.Cluster.TLS == nil {
		return true
	}
	config := c.Cluster.TLS.Clone()
	config.ServerName, _, _ = net.SplitHostPort(address)
	return c.handshake(ctx, what, address, config, "--kafka-ca-file", "this listener does not speak TLS: leave out --kafka-tls, or use its other port")
}

// cluster is one that can be reached.
type cluster struct {
	*Checkup
	client  *kafka.Client
	records *records.Client
}

// login reads the cluster's own description, for which every check of a broker
// must be passed, and reaches the addresses that it gives.
func (k *cluster) login(ctx context.Context) bool {
	step := "SASL"
	if k.Cluster.SASL == nil {
		step = "Kafka"
	}
	exchange, cancel := context.WithTimeout(ctx, 3*k.Timeout)
	defer cancel()
	meta, err := k.client.Metadata(exchange, &kafka.MetadataRequest{})
	if err != nil {
		k.fail(step, status.Reason(err), k.loginRemedy(err))
		return false
	}
	as := "no login is asked for"
	if k.Cluster.SASL != nil {
		as = "logged in with " + k.Cluster.SASL.Name()
	}
	k.ok(step, fmt.Sprintf("%s; cluster %s of %d brokers", as, meta.ClusterID, len(meta.Brokers)))
	known := map[string]bool{}
	for _, address := range k.Cluster.Brokers {
		known[address] = true
	}
	for _, broker := range meta.Brokers {
		if address := net.JoinHostPort(broker.Host, strconv.Itoa(broker.Port)); !known[address] && !k.broker(ctx, address) {
			k.warn("Kafka", "the brokers name "+address+" as one of them, which cannot be used from here", "look at their advertised.listeners")
		}
	}
	return true
}

func (k *cluster) loginRemedy(err error) string {
	switch {
	case errors.Is(err, kafka.SASLAuthenticationFailed):
		return "user or password is wrong: --kafka-username, --kafka-password-file"
	case errors.Is(err, kafka.UnsupportedSASLMechanism):
		return "use a mechanism that the broker offers: --kafka-sasl-mechanism"
	case k.Cluster.TLS == nil:
		return "does this listener want TLS (--kafka-tls) or a login (--kafka-sasl-mechanism)?"
	case k.Cluster.SASL == nil:
		return "does this listener want a login (--kafka-sasl-mechanism) or a certificate (--kafka-cert-file)?"
	}
	return "look at the broker's log"
}

// topic finds one, and whether it may be read and, if it is for outcomes, written.
// It returns its partition count, 0 where it is not to be had.
func (k *cluster) topic(ctx context.Context, topic string) int {
	step := "topic " + topic
	ctx, cancel := context.WithTimeout(ctx, 3*k.Timeout)
	defer cancel()
	layout, err := producer.LayoutOf(ctx, k.client, topic)
	switch {
	case err != nil:
		k.fail(step, status.Reason(err), k.allow(topic))
		return 0
	case layout.Partitions == 0:
		k.fail(step, "it does not exist, or may not be seen", "create it with smscancel topics, or: "+k.allow(topic))
		return 0
	}
	may, err := producer.PermissionsOn(ctx, k.client, topic)
	switch {
	case err != nil:
		k.fail(step, status.Reason(err), k.allow(topic))
		return 0
	case may.Known && (!may.Read || topic == k.OutcomeTopic && !may.Write):
		k.fail(step, "this user may not do all that a worker does", k.allow(topic))
		return 0
	}
	at, err := k.records.Latest(ctx, topic, 0)
	if err == nil {
		_, err = k.records.Fetch(ctx, records.FetchRequest{Topic: topic, Partition: 0, Offset: at, MaxWait: time.Millisecond})
	}
	if err != nil {
		k.fail(step, status.Reason(err), k.allow(topic))
		return 0
	}
	text := fmt.Sprintf("%d partitions, %d replicas, readable", layout.Partitions, layout.Replicas)
	if topic == k.OutcomeTopic && may.Known {
		text += " and writable"
	}
	k.ok(step, text)
	return layout.Partitions
}

func (k *cluster) allow(topic string) string {
	operations := "READ"
	if topic == k.OutcomeTopic {
		operations = "READ and WRITE"
	}
	return "allow this user " + operations + " on topic " + topic
}

// settings are judged as far as the topics are there.
func (k *cluster) settings(ctx context.Context, there map[string]int) {
	ctx, cancel := context.WithTimeout(ctx, 6*k.Timeout)
	defer cancel()
	topics := Topics{Outcomes: k.OutcomeTopic, Partitions: there[k.OutcomeTopic], Window: k.DedupeWindow}
	for _, topic := range k.RequestTopics {
		if there[topic] > 0 {
			topics.Requests = append(topics.Requests, topic)
		}
	}
	found, err := topics.Settings(ctx, k.client)
	if err != nil {
		k.fail("settings", status.Reason(err), "try again: the brokers answered the steps before")
		return
	}
	k.judge(found, len(topics.Requests) > 0 || topics.Partitions > 0)
}

func (k *cluster) judge(found producer.Settings, any bool) {
	for _, text := range found.Fatal {
		k.fail("settings", text, "")
	}
	for _, text := range found.Warnings {
		k.warn("settings", text, "")
	}
	if any && len(found.Fatal)+len(found.Warnings) == 0 {
		k.ok("settings", "as the workers need them")
	}
}

// group asks the coordinator as a member would that nobody knows: it may, or not.
func (k *cluster) group(ctx context.Context) {
	step := "group " + k.Group
	var err error
	k.patiently(ctx, func(ctx context.Context) error {
		err = consumer.Heartbeat(ctx, k.client, k.Group, -1, "smscancel-check")
		return err
	})
	switch {
	case errors.Is(err, kafka.GroupAuthorizationFailed):
		k.fail(step, err.Error(), "allow this user READ on group "+k.Group)
	case err == nil, errors.Is(err, kafka.UnknownMemberId), errors.Is(err, kafka.IllegalGeneration),
		errors.Is(err, kafka.GroupIdNotFound), errors.Is(err, kafka.RebalanceInProgress):
		k.ok(step, "its coordinator takes members")
	default:
		k.fail(step, status.Reason(err), "the coordinator of the group does not answer: look at the brokers")
	}
}

// transaction gets an epoch of a transactional id that no worker uses.
func (k *cluster) transaction(ctx context.Context) {
	id := producer.TransactionalIDPrefix + k.OutcomeTopic + "/check"
	step := "transactional id"
	var err error
	k.patiently(ctx, func(ctx context.Context) error {
		var res *kafka.InitProducerIDResponse
		res, err = k.client.InitProducerID(ctx, &kafka.InitProducerIDRequest{TransactionalID: id, TransactionTimeoutMs: 10_000, ProducerID: -1, ProducerEpoch: -1})
		if err == nil {
			err = res.Error
		}
		return err
	})
	switch {
	case err == nil:
		k.ok(step, id)
	case errors.Is(err, kafka.TransactionalIDAuthorizationFailed):
		k.fail(step, err.Error(), "allow this user WRITE on transactional ids with the prefix "+producer.TransactionalIDPrefix)
	default:
		k.fail(step, status.Reason(err), "the coordinator of transactions does not answer: look at the brokers")
	}
}

// patiently asks again where a coordinator is on its way, as after a start.
func (k *cluster) patiently(ctx context.Context, ask func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, 3*k.Timeout)
	defer cancel()
	for {
		var code kafka.Error
		if err := ask(ctx); err == nil || !errors.As(err, &code) || !code.Temporary() && code != kafka.ConcurrentTransactions {
			return
		}
		if worker.Sleep(ctx, 200*time.Millisecond) != nil {
			return
		}
	}
}
