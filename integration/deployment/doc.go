// Package deployment tests what deploy/ holds: the compose file, the Helm chart,
// the alert rules, the dashboard and the AsyncAPI document, by the libraries of
// the programs that will read them, and against workers that run on what the
// compose file and the chart say. It does not test the worker itself. It is a
// module of its own, so that nobody who builds smscancel needs those libraries;
// `make test` runs it.
package deployment
