// Command go reads the outcomes of cancel requests, with kafka-go: an example to
// copy into a service that has to know how its requests ended. It reads at least
// once and handles each outcome once; a line of JSON for each is what it does.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/segmentio/kafka-go"
)

// outcome has the fields that this service needs. Unmarshal ignores all others,
// as it must: within v1 fields may be added.
type outcome struct {
	OutcomeID string `json:"outcomeId"`
	RequestID string `json:"requestId"`
	Status    string `json:"status"`
	Ambiguous bool   `json:"ambiguous"`
}

type line struct {
	outcome
	Action    string `json:"action"`
	Partition int    `json:"partition"`
	Offset    int64  `json:"offset"`
}

// handled stands in for the service's database, which knows it after a restart,
// too: there outcomeId is a unique key, and what an outcome changes is written in
// the same transaction as INSERT … ON CONFLICT (outcome_id) DO NOTHING.
var handled = map[string]bool{}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

// run reads until the context ends. Close leaves the group and commits the rest.
func run(ctx context.Context) (err error) {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers:               strings.Split(env("KAFKA_BROKERS", "localhost:9092"), ","),
		GroupID:               env("GROUP_ID", "outcomes-go"), // one for each service
		Topic:                 env("OUTCOME_TOPIC", "sms.cancel.outcomes"),
		StartOffset:           kafka.FirstOffset, // of a group that has committed nothing yet
		CommitInterval:        time.Second,
		MaxWait:               500 * time.Millisecond,
		WatchPartitionChanges: true,
		ErrorLogger:           kafka.LoggerFunc(log.Printf),
		// TLS and SASL: Dialer: &kafka.Dialer{TLS: …, SASLMechanism: …}
	})
	defer func() {
		if errClose := reader.Close(); err == nil {
			err = errClose
		}
	}()
	for {
		message, err := reader.FetchMessage(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read outcomes: %w", err)
		}
		// kafka-go shows the transaction markers between the outcomes. They have
		// no headers, and every outcome has.
		if len(message.Headers) > 0 {
			if err := handle(message); err != nil {
				return err // nothing is committed: it comes again
			}
		}
		// Only now. Where this fails, or another member takes the partition over,
		// outcomes come again, and are known by their outcomeId.
		if err := reader.CommitMessages(context.WithoutCancel(ctx), message); err != nil {
			log.Printf("commit: %v", err)
		}
	}
}

// handle does what an outcome asks for, once.
func handle(m kafka.Message) error {
	var o outcome
	if err := json.Unmarshal(m.Value, &o); err != nil || o.OutcomeID == "" {
		log.Printf("no outcome at %s/%d/%d: %v", m.Topic, m.Partition, m.Offset, err)
		o = outcome{OutcomeID: fmt.Sprintf("%s/%d/%d", m.Topic, m.Partition, m.Offset)}
	}
	if handled[o.OutcomeID] {
		return nil
	}
	if err := json.NewEncoder(os.Stdout).Encode(line{o, action(o), m.Partition, m.Offset}); err != nil {
		return fmt.Errorf("handle %s: %w", o.OutcomeID, err)
	}
	handled[o.OutcomeID] = true
	return nil
}

// action is what the service does about an outcome.
func action(o outcome) string {
	if o.Ambiguous {
		return "review" // a message may have been cancelled although the answer was lost
	}
	switch o.Status {
	case "cancelled":
		return "mark_cancelled"
	case "not_cancelled":
		return "mark_not_cancelled" // nothing was left to cancel
	case "failed":
		return "alert" // error says why
	case "duplicate":
		return "follow_original" // duplicateOf has the answer
	case "expired":
		return "mark_too_late"
	case "rejected":
		return "fix_request" // error.message names the field
	}
	return "review" // v1 gets no new status; one all the same is neither guessed at nor lost
}

func env(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}
