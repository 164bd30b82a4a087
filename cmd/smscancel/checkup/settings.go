package checkup

import (
	"context"
	"errors"
	"time"

	"github.com/segmentio/kafka-go"

	"smscancel/consumer/records"
	"smscancel/producer"
	"smscancel/worker"
)

// Topics are those of a group of workers, as far as they are there.
type Topics struct {
	Requests   []string
	Outcomes   string
	Partitions int           // of the outcome topic; 0 = it is not there
	Window     time.Duration // for which duplicates are answered
}

// Settings judges the topics as a worker does when it starts, and the request
// topics as their producers would. An error means that nothing could be found out.
func (t Topics) Settings(ctx context.Context, client *kafka.Client) (found producer.Settings, err error) {
	ledger := &producer.Ledger{
		Client: client, Records: &records.Client{Transport: client.Transport, Addr: client.Addr}, Topic: t.Outcomes, Partitions: t.Partitions,
	}
	for _, topic := range t.Requests {
		s, err := ledger.CheckRequests(ctx, topic)
		if err != nil {
			return found, err
		}
		found.Join(s)
	}
	if t.Partitions == 0 {
		return found, nil
	}
	s, err := ledger.CheckTopic(ctx, t.Window, t.Requests)
	if err != nil {
		return found, err
	}
	found.Join(s)
	err = ledger.CheckWritten(ctx)
	if changed := (*worker.PartitionCountError)(nil); errors.As(err, &changed) {
		found.Fatal, err = append(found.Fatal, changed.Error()), nil
	}
	if errors.Is(err, kafka.TopicAuthorizationFailed) {
		found.Warnings = append(found.Warnings, "the outcomes in topic "+t.Outcomes+" may not be read: whether its partition count was changed is not known")
		err = nil
	}
	return found, err
}
