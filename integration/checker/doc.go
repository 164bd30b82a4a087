// Package checker reads what a whole run of the worker left behind (requests,
// outcomes, the simulator's calls, commits, logs) and decides every guarantee.
//
// It starts nothing and talks to nobody: its callers, the suites on real Kafka
// and the random schedules, collect a Run and hand it to Check.
package checker
