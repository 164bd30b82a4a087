package integration

import (
	"fmt"
	"strings"
	"syscall"
)

// checkRepeats checks, where the API has no faults, that no call was repeated
// needlessly: only one that its process was not given the time to finish, for it
// was killed or lost the partition. It returns how many were.
func (w *world) checkRepeats(replicas ...*replica) int {
	w.t.Helper()
	fate := map[string]string{} // by instance
	for _, r := range replicas {
		fate[r.instance()] = r.fate()
	}
	calls := map[string][]string{} // instances, by message
	for _, c := range w.sim.Calls() {
		id := strings.ToLower(c.ID)
		_, instance, _ := strings.Cut(strings.TrimSuffix(c.UserAgent, ")"), "(")
		calls[id] = append(calls[id], instance)
	}
	repeated := 0
	for id, by := range calls {
		repeated += len(by) - 1
		for i, instance := range by[:len(by)-1] {
			if fate[instance] == "" {
				w.t.Errorf("%s was called by %s, which was neither killed nor lost its partitions, and again by %s", id, instance, by[i+1])
			}
		}
	}
	return repeated
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
