// Package deployment tests what deploy/ holds: the Helm chart, the alert rules, the
// dashboard and the AsyncAPI document, by the libraries of the programs that will
// read them, and against a worker that runs on the chart's configuration. It does
// not test the worker itself. It is a module of its own, so that nobody who builds
// smscancel needs those libraries; `make test` runs it.
package deployment
