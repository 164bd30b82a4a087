// Package simulator stands in for the 8x8 cancel-SMS API: the documented
// answers, the published limits, TLS, scripted and random faults, and a ledger
// that tells what every call really did.
//
// It sends no SMS and keeps nothing on disk. Tests use it in process,
// "smscancel dev" beside the worker, and "smscancel simulate" on its own.
package simulator
