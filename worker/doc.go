// Package worker says what a cancel request and its outcome are, and how one
// becomes the other: parse, claim the message, wait for admission, call the
// API, judge the answer, retry or settle.
//
// It knows no Kafka: records come from package consumer, outcomes go to the
// ledger of package producer, and cmd/smscancel wires the three together.
package worker
