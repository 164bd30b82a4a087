package kafkatest

import "github.com/segmentio/kafka-go"

// withAdmin lends a client of its own to do, so that no connection outlives it.
func withAdmin(brokers []string, do func(*kafka.Client) error) error {
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	return do(&kafka.Client{Addr: kafka.TCP(brokers...), Transport: transport})
}
