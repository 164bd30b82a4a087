package integration

import (
	"fmt"
	"strings"
	"syscall"
)

// checkRepeats checks, where the API has no faults, that no call was repeated
// needlessly: of several calls for one message all but one are by processes that
// were killed, paused, or lost the partition. It returns how many were repeated.
func (w *world) checkRepeats() int {
	w.t.Helper()
	fate := map[string]string{} // by instance
	for _, r := range w.replicas {
		fate[r.instance()] = r.fate()
	}
	calls, undisturbed := map[string]int{}, map[string][]string{} // by message
	for _, c := range w.sim.Calls() {
		id := strings.ToLower(c.ID)
		calls[id]++
		_, instance, _ := strings.Cut(strings.TrimSuffix(c.UserAgent, ")"), "(")
		if fate[instance] == "" {
			undisturbed[id] = append(undisturbed[id], instance)
		}
	}
	for id, by := range undisturbed {
		if len(by) > 1 {
			w.t.Errorf("%s was called by %v, which nothing kept from finishing", id, by)
		}
	}
	return len(w.sim.Calls()) - len(calls)
}

// instance is the name that the process gives itself in its log and to the API.
func (r *replica) instance() string {
	for _, line := range r.lines() {
		if name, ok := line["instance"].(string); ok {
			return name
		}
	}
	return ""
}

// fate is what may have cut calls of the process; empty = nothing.
func (r *replica) fate() string {
	if r.ended() {
		if status, ok := r.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return fmt.Sprint(status.Signal())
		}
	}
	if r.wasPaused {
		return "was paused"
	}
	if r.logged(`"partition stopped; its requests wait"`) > 0 {
		return "lost a partition"
	}
	if r.logged("drain took too long") > 0 {
		return "had no time to drain"
	}
	return ""
}
