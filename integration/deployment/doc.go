// Package deployment tests what deploy/ holds: the Helm chart, the alert rules and
// the dashboard, by the libraries of the programs that will read them. It tests no
// worker. It is a module of its own, so that nobody who builds smscancel needs
// those libraries; `make test` runs it.
package deployment
