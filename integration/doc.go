// Package integration holds the suites that run the worker as it is shipped
// against real Kafka and the API simulator, and prove what README.md promises.
//
// Its parts are packages of their own: simulator (the 8x8 API), broker (an
// embedded Kafka for development and fast tests), kafkatest (real Kafka in
// containers), notrun (what could not run), history (what a run left in Kafka)
// and checker, which decides a run; model is the protocol alone, for spin.
// cmd/smscancel imports the first two.
package integration
