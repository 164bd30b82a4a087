package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"smscancel/integration/checker"
	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
	"smscancel/worker"
	"smscancel/worker/status"
)

// configMap is a configuration file as Kubernetes mounts it: links to a folder
// that is swapped for another one.
type configMap struct {
	w    *world
	dir  string
	path string
	n    int
}

func (w *world) configMap(content string) *configMap {
	w.t.Helper()
	c := &configMap{w: w, dir: filepath.Join(w.dir, "config")}
	c.path = filepath.Join(c.dir, "smscancel.yaml")
	c.must(os.Mkdir(c.dir, 0o700))
	c.must(os.Symlink(filepath.Join("..data", "smscancel.yaml"), c.path))
	c.swap(content)
	return c
}

func (c *configMap) must(err error) {
	c.w.t.Helper()
	if err != nil {
		c.w.t.Fatal(err)
	}
}

func (c *configMap) swap(content string) {
	c.w.t.Helper()
	c.n++
	version := fmt.Sprintf("..version-%d", c.n)
	c.must(os.Mkdir(filepath.Join(c.dir, version), 0o700))
	c.must(os.WriteFile(filepath.Join(c.dir, version, "smscancel.yaml"), []byte(content), 0o600))
	c.must(os.Symlink(version, filepath.Join(c.dir, "..next")))
	c.must(os.Rename(filepath.Join(c.dir, "..next"), filepath.Join(c.dir, "..data")))
}

// awaitOperator waits until the replicas say of what the operator wants what they
// should.
func (w *world) awaitOperator(what string, holds func(status.Operator) bool, replicas ...*replica) {
	w.t.Helper()
	w.eventually(what, func() error {
		for _, r := range replicas {
			s, err := r.status()
			if err != nil {
				return err
			}
			if !holds(s.Operator) {
				return fmt.Errorf("%s: %+v", r.name, s.Operator)
			}
		}
		return nil
	})
}

// Fault: a campaign of 4,000 requests is wrong, and is being called at the limit of
// two replicas; the API leaves some calls open. The operator pauses it, then makes a
// mistake in the file, then withdraws the campaign and lifts the limit. Promise: no
// call of it starts 2 s after a change is in force, nor while the file is faulty; the
// others go on; one outcome each, ambiguous where a call may have taken effect.
func TestAWrongCampaignIsPausedAndWithdrawnWithoutARestart(t *testing.T) {
	kafkatest.Require(t)
	t.Parallel()
	const limits = "sub-accounts: {acme_shop: {rate-limit: 100}}\n"
	w := newWorld(t, kafkatest.Shared(t), 4, simulator.Options{Faults: simulator.Faults{Rates: map[string]float64{"500-after": .02, "503": .05}}})
	file := w.configMap(limits)
	a := w.start("a", "--config", file.path, "--retry-max-interval", "1s")
	b := w.start("b", "--config", file.path, "--retry-max-interval", "1s")
	w.waitRunning(a, b)
	wrong := batchOf(0, 4000)
	for _, r := range wrong {
		r["campaignId"] = "wrong"
	}
	w.publish(wrong...)
	w.eventually("400 calls", func() error {
		if n := w.sim.Summary().Calls; n < 400 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})

	changed := time.Now()
	file.swap(limits + "paused: {campaigns: [wrong]}\n")
	w.awaitOperator("the pause", func(o status.Operator) bool { return o.PausedCampaigns.Total == 1 }, a, b)
	w.setup.Held = []checker.Held{{Campaign: "wrong", From: time.Now()}}
	t.Logf("the last call of the campaign came %s after the file was changed", w.lastCall(wrong).Sub(changed).Round(time.Millisecond))
	before := w.countOutcomes()
	w.publish(batchOf(10_000, 200)...)
	w.waitForOutcomes(before + 200)
	w.eventually("the metrics to say so", func() error {
		for _, page := range []string{`smscancel_hold{reason="pause",sub_account="acme_shop"} 1`, `smscancel_config_last_reload_successful 1`} {
			if _, body, err := a.get("/metrics"); err != nil || !strings.Contains(body, page) {
				return fmt.Errorf("%v, no %s", err, page)
			}
		}
		return nil
	})

	file.swap("paused: maybe\n")
	w.awaitOperator("the faulty file", func(o status.Operator) bool { return o.Error != "" && o.PausedCampaigns.Total == 1 }, a, b)
	w.publish(batchOf(20_000, 100)...)
	w.waitForOutcomes(before + 300)
	if a.metric("smscancel_config_last_reload_successful") != 0 || a.logged("configuration file cannot be used") != 1 {
		t.Errorf("the faulty file was said %d times", a.logged("configuration file cannot be used"))
	}

	withdrawn := time.Now()
	file.swap("withdrawn-campaigns: [wrong]\n")
	w.setup.Held[0].Until = withdrawn
	w.setup.Held = append(w.setup.Held, checker.Held{Campaign: "wrong", Withdrawn: true, From: withdrawn})
	w.waitSettled(a, b)
	t.Logf("all requests had their outcomes %s after the campaign was withdrawn", time.Since(withdrawn).Round(time.Millisecond))
	if s, err := a.status(); err != nil || s.Operator.Error != "" || s.Operator.Waiting != 0 || s.Operator.Withdrawn.Total != 1 {
		t.Errorf("%v, %+v", err, s.Operator)
	}
	a.stop()
	b.stop()
	if last := w.lastCall(wrong); last.After(withdrawn) {
		t.Errorf("the API was called for the campaign %s after it was withdrawn, and it had been paused before", last.Sub(withdrawn))
	}
	w.checkWithdrawn(w.audit(), len(wrong)+300)
}

// lastCall is when the last call for one of the requests arrived.
func (w *world) lastCall(requests []map[string]any) (last time.Time) {
	meant := map[string]bool{}
	for _, r := range requests {
		meant[r["umid"].(string)] = true
	}
	for _, c := range w.sim.Calls() {
		if meant[c.ID] && c.StartedAt.After(last) {
			last = c.StartedAt
		}
	}
	return last
}

// checkWithdrawn looks for what the audit cannot know: how many were to be withdrawn.
func (w *world) checkWithdrawn(a audit, total int) {
	w.t.Helper()
	withdrawn, open, others := 0, 0, 0
	for _, o := range a.outcomes {
		switch {
		case o.Status == worker.StatusFailed && o.Error.Kind == worker.KindWithdrawn:
			withdrawn++
			if o.Ambiguous {
				open++
			}
			if o.CampaignID != "wrong" {
				w.t.Errorf("withdrawn, and of no campaign that is: %+v", o)
			}
		case o.CampaignID != "wrong":
			others++
		}
	}
	w.t.Logf("%d withdrawn, %d of them ambiguous, %d others, %d calls", withdrawn, open, others, a.calls)
	if len(a.outcomes) != total || withdrawn < 3000 || others != 300 {
		w.t.Errorf("%d outcomes, %d withdrawn, %d others", len(a.outcomes), withdrawn, others)
	}
}
