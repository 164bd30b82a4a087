// Package bench holds what the worker is measured against. Limit is the worker's
// own HTTP client without Kafka, Baseline the kafka-go consumer that one writes in
// an afternoon, Bare a kafka-go client that reads and writes and calls nobody. Each
// runs in a process of its own, made of the command contender; the benchmark that
// starts them stands in package integration.
package bench
