package process

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"smscancel/worker/api"
	"smscancel/worker/policy"
	"smscancel/worker/status"
)

// file stands in for the configuration file.
type file struct {
	mu      sync.Mutex
	live    Live
	changed bool
	err     error
}

func (f *file) reload() (Live, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed := f.changed && f.err == nil
	f.changed = f.changed && !changed
	return f.live, changed, f.err
}

func (f *file) set(live Live, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.live, f.changed, f.err = live, true, err
}

// withFile runs a test in a bubble, with a worker that watches a file and has
// not reached Kafka.
func withFile(t *testing.T, start Live, test func(t *testing.T, p *Process, f *file, log *bytes.Buffer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		keys, err := api.LiteralKey("k")
		if err != nil {
			t.Fatal(err)
		}
		f, log := &file{live: start}, &bytes.Buffer{}
		p, err := New(Config{Instance: "one", APIURL: "http://127.0.0.1:1", Keys: keys, Live: start, Reload: f.reload}, zerolog.New(log))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		go p.reload(ctx)
		test(t, p, f, log)
		stop()
		synctest.Wait()
	})
}

func elapse(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (p *Process) metric(t *testing.T, name string) map[string]float64 {
	t.Helper()
	families, err := p.metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			if family.GetName() == name {
				values[strings.Join(labels, ",")] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return values
}

func TestSettingsOfTheFileComeIntoForceWithinASecond(t *testing.T) {
	withFile(t, Live{RateLimit: 100}, func(t *testing.T, p *Process, f *file, log *bytes.Buffer) {
		subject := policy.Subject{SubAccountID: "shop", CampaignID: "wrong"}
		elapse(time.Minute)
		f.set(Live{RateLimit: 5, RateLimitTotal: 7, SubAccountRate: map[string]float64{"shop": 3}, Held: policy.Rules{Withdrawn: []string{"wrong"}}}, nil)
		elapse(reloadInterval)
		if err := p.policy.Judge(subject); !errors.Is(err, policy.ErrWithdrawn) {
			t.Errorf("not withdrawn after %s: %v", reloadInterval, err)
		}
		snap := p.admission.Snapshot()
		if s := p.Status(); snap.Destination.RateAllowed != 7 || s.Operator.Withdrawn.Total != 1 || time.Since(s.Operator.Loaded) > reloadInterval {
			t.Errorf("rates %+v, status %+v", snap, s.Operator)
		}
		if strings.Count(log.String(), "settings changed") != 1 || !strings.Contains(log.String(), `"withdrawnCampaigns":["wrong"]`) {
			t.Errorf("log %s", log)
		}
		f.set(Live{RateLimit: 5}, nil)
		elapse(reloadInterval)
		if err := p.policy.Judge(subject); err != nil {
			t.Errorf("%v", err)
		}
	})
}

// Fault: for an hour the file cannot be used. Promise: the old settings hold, and
// log, status and metrics say so, once each, until it is mended.
func TestAFileThatCannotBeUsedIsSaidOnceAndTheOldSettingsHold(t *testing.T) {
	withFile(t, Live{Held: policy.Rules{PauseAll: true}}, func(t *testing.T, p *Process, f *file, log *bytes.Buffer) {
		loaded := p.Status().Operator.Loaded
		elapse(time.Minute)
		f.set(Live{}, errors.New("line 3: unknown key"))
		since := time.Now()
		elapse(time.Hour)
		s := p.Status()
		if len(s.Errors) != 1 || s.Errors[0].Kind != "config" || !strings.Contains(s.Errors[0].Message, "line 3") || s.Operator.Error == "" ||
			s.Operator.FailingSince.Sub(since) > reloadInterval || !s.Operator.Loaded.Equal(loaded) || s.Operator.PausedAll == nil {
			t.Errorf("errors %+v, operator %+v", s.Errors, s.Operator)
		}
		if n := strings.Count(log.String(), "cannot be used"); n != 1 {
			t.Errorf("said %d times: %s", n, log)
		}
		inForce, failures := p.metric(t, "smscancel_config_last_reload_successful")[""], p.metric(t, "smscancel_config_reload_failures_total")[""]
		if inForce != 0 || failures != 1 {
			t.Errorf("in force %v, %v failures", inForce, failures)
		}
		f.set(Live{}, errors.New("no such file"))
		elapse(reloadInterval)
		if s := p.Status(); !strings.Contains(s.Operator.Error, "no such file") || s.Operator.FailingSince.Sub(since) > reloadInterval {
			t.Errorf("another fault: %+v", s.Operator)
		}
		f.set(Live{}, nil)
		elapse(reloadInterval)
		s = p.Status()
		if len(s.Errors) != 0 || s.Operator.Error != "" || s.Operator.PausedAll != nil || !strings.Contains(log.String(), "can be used again") {
			t.Errorf("mended: errors %+v, operator %+v", s.Errors, s.Operator)
		}
		if at := p.metric(t, "smscancel_config_last_reload_success_timestamp_seconds")[""]; at != float64(s.Operator.Loaded.UnixMilli())/1000 || p.metric(t, "smscancel_config_last_reload_successful")[""] != 1 {
			t.Errorf("loaded at %v, status says %s", at, s.Operator.Loaded)
		}
	})
}

func TestWhatIsPausedIsShownForEachSubAccount(t *testing.T) {
	start := Live{RateLimit: 9, SubAccountRate: map[string]float64{"bank": 4},
		Held: policy.Rules{SubAccounts: []string{"bank"}, Campaigns: []string{"late"}}}
	withFile(t, start, func(t *testing.T, p *Process, f *file, _ *bytes.Buffer) {
		began := time.Now()
		ctx, stop := context.WithCancel(t.Context())
		for range 3 {
			go p.policy.Wait(ctx, policy.Subject{SubAccountID: "shop", CampaignID: "late"}) //nolint:errcheck // ends with the test
		}
		elapse(time.Minute)
		s := p.Status()
		want := status.SubAccount{SubAccountID: "shop", Door: status.Door{RateAllowed: 9, State: "open"}, Paused: 3}
		bank := s.SubAccounts[0]
		if len(s.SubAccounts) != 2 || !reflect.DeepEqual(s.SubAccounts[1], want) || bank.RateAllowed != 4 || bank.State != "pause" || bank.OperatorPause == nil || !bank.OperatorPause.Equal(began) || s.Operator.Waiting != 3 {
			t.Errorf("%+v, %+v", s.SubAccounts, s.Operator)
		}
		held, waiting := p.metric(t, "smscancel_hold"), p.metric(t, "smscancel_waiting")["pause"]
		if len(held) != 2 || held["pause,bank"] != 1 || held["pause,shop"] != 1 || waiting != 3 {
			t.Errorf("hold %v, waiting %v", held, waiting)
		}
		f.set(Live{Held: policy.Rules{PauseAll: true}}, nil)
		elapse(reloadInterval)
		p.Status()
		if held := p.metric(t, "smscancel_hold"); len(held) != 2 || held["pause,"] != 1 || held["pause,shop"] != 1 {
			t.Errorf("everything: hold %v", held)
		}
		f.set(Live{}, nil)
		stop()
		elapse(reloadInterval)
		p.Status()
		if held := p.metric(t, "smscancel_hold"); len(held) != 0 {
			t.Errorf("nothing: hold %v", held)
		}
	})
}
