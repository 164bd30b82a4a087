package producer

import (
	"errors"
	"testing"

	"github.com/segmentio/kafka-go"
)

// The embedded broker has no permissions to tell of: what Kafka says is looked at
// in package integration.
func TestPermissionsAreAskedForTopicByTopic(t *testing.T) {
	b := newBench(t, 1, nil)
	if _, err := PermissionsOn(b.context(), b.Client, outcomeTopic); err != nil {
		t.Error(err)
	}
	if _, err := PermissionsOn(b.context(), b.Client, "missing"); !errors.Is(err, kafka.UnknownTopicOrPartition) {
		t.Errorf("a missing topic: %v", err)
	}
}
