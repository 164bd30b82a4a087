// Package kafkatest runs real Kafka brokers in containers for tests: one, or
// three that replicate, with faults on demand and, where asked for, TLS, SASL
// and ACLs. It asserts nothing about the worker: the suites do, and call
// Require, then Start or Shared. Only test files import it.
package kafkatest
