package process

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"smscancel/worker/policy"
	"smscancel/worker/status"
)

// Live is what may change while the worker runs. Rates are calls per second, 0
// means no limit.
type Live struct {
	RateLimit      float64
	RateLimitTotal float64
	SubAccountRate map[string]float64 // sub-accounts.ID.rate-limit of the file
	Held           policy.Rules       // paused and withdrawn-campaigns
}

// ReloadFunc reads the configuration file again. changed is false while the
// settings are those that it returned last, or that the worker was started with.
// The error says why the file as it stands cannot be used.
type ReloadFunc func() (live Live, changed bool, err error)

// reloadInterval leaves room in the two seconds after which no call of a
// withdrawn campaign goes out: a change is taken over at the second reading that
// sees it.
const reloadInterval = 500 * time.Millisecond

// settings are those in force, and what is wrong with those that should be.
type settings struct {
	mu      sync.Mutex
	live    Live
	loaded  time.Time
	failing string // why the file as it stands is not in force; empty = it is
	since   time.Time
}

// reload watches the configuration file until ctx ends.
func (p *Process) reload(ctx context.Context) {
	tick := time.NewTicker(reloadInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.reloadOnce()
		case <-ctx.Done():
			return
		}
	}
}

func (p *Process) reloadOnce() {
	live, changed, err := p.cfg.Reload()
	if err != nil {
		p.keepOld(err.Error())
		return
	}
	p.recovered()
	if changed {
		p.adopt(live)
		p.log.Info().Float64("rateLimit", live.RateLimit).Float64("rateLimitTotal", live.RateLimitTotal).
			Int("subAccountRates", len(live.SubAccountRate)).Dict("held", held(live.Held)).Msg("settings changed")
	}
}

// adopt puts settings in force. What is held back comes first.
func (p *Process) adopt(live Live) {
	p.policy.Set(live.Held)
	p.admission.SetRates(live.RateLimit, live.RateLimitTotal, live.SubAccountRate)
	s := &p.settings
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live, s.loaded = live, time.Now()
	p.metrics.ConfigLoaded.Set(float64(s.loaded.UnixMilli()) / 1000)
	p.metrics.ConfigInForce.Set(1)
}

// keepOld notes why the settings stay as they are, and says so when it is news.
func (p *Process) keepOld(reason string) {
	s := &p.settings
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing == reason {
		return
	}
	if s.failing == "" {
		s.since = time.Now()
	}
	s.failing = reason
	p.metrics.ConfigFailures.Inc()
	p.metrics.ConfigInForce.Set(0)
	p.log.Error().Str("error", reason).Time("inForceSince", s.loaded).Msg("configuration file cannot be used, keeping the old settings")
}

func (p *Process) recovered() {
	s := &p.settings
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing == "" {
		return
	}
	s.failing = ""
	p.metrics.ConfigInForce.Set(1)
	p.log.Info().Msg("configuration file can be used again")
}

// held tells what is held back, without the whole of a long list.
func held(r policy.Rules) *zerolog.Event {
	const most = 20
	return zerolog.Dict().Bool("pausedAll", r.PauseAll).
		Int("subAccounts", len(r.SubAccounts)).Strs("pausedSubAccounts", r.SubAccounts[:min(len(r.SubAccounts), most)]).
		Int("campaigns", len(r.Campaigns)).Strs("pausedCampaigns", r.Campaigns[:min(len(r.Campaigns), most)]).
		Int("withdrawn", len(r.Withdrawn)).Strs("withdrawnCampaigns", r.Withdrawn[:min(len(r.Withdrawn), most)])
}

// reportHeld fills in what the operator holds back, and since when.
func (p *Process) reportHeld(s *status.Status) {
	now := p.policy.Snapshot()
	p.settings.mu.Lock()
	live, o := p.settings.live, status.Operator{Loaded: p.settings.loaded, Error: p.settings.failing}
	if o.Error != "" {
		since := p.settings.since
		o.FailingSince = &since
		s.Errors = slices.Insert(s.Errors, 0, status.Error{Time: since, Kind: "config", Message: o.Error})
	}
	p.settings.mu.Unlock()
	if !now.All.IsZero() {
		o.PausedAll = &now.All
	}
	o.PausedSubAccounts, o.PausedCampaigns, o.Withdrawn = listed(now.SubAccounts), listed(now.Campaigns), listed(now.Withdrawn)
	for _, n := range now.Waiting {
		o.Waiting += n
	}
	s.Operator = o
	p.metrics.Waiting.WithLabelValues(pause).Add(float64(o.Waiting)) // to those behind a Retry-After
	p.reportPaused(s, &now, &live)
}

func listed(l policy.List) status.HeldList {
	shown := status.HeldList{Total: l.Total, Newest: []status.Held{}}
	for _, h := range l.Newest {
		shown.Newest = append(shown.Newest, status.Held(h))
	}
	return shown
}

// reportPaused shows each sub-account that is paused, or has requests that are.
func (p *Process) reportPaused(s *status.Status, now *policy.Snapshot, live *Live) {
	since := map[string]time.Time{}
	for id := range now.Waiting {
		since[id] = now.All
	}
	for _, h := range now.SubAccounts.Newest {
		since[h.ID] = h.Since
	}
	for id, at := range since {
		p.metrics.Hold.WithLabelValues(id, pause).Set(1)
		sub := shown(s, id, live)
		sub.Paused = now.Waiting[id]
		if !at.IsZero() {
			sub.OperatorPause = &at
			if sub.State == "open" {
				sub.State = pause
			}
		}
	}
	if !now.All.IsZero() {
		p.metrics.Hold.WithLabelValues(everySubAccount, pause).Set(1)
	}
}

// shown is a sub-account's entry in the status, made if need be.
func shown(s *status.Status, id string, live *Live) *status.SubAccount {
	i, found := slices.BinarySearchFunc(s.SubAccounts, id, func(sub status.SubAccount, id string) int { return cmp.Compare(sub.SubAccountID, id) })
	if !found {
		s.SubAccounts = slices.Insert(s.SubAccounts, i, status.SubAccount{SubAccountID: id, Door: status.Door{RateAllowed: live.rateOf(id), State: "open"}})
	}
	return &s.SubAccounts[i]
}

// everySubAccount is the label of smscancel_hold for a pause of everything.
const everySubAccount = ""

func (l *Live) rateOf(id string) float64 {
	if rate, ok := l.SubAccountRate[id]; ok {
		return rate
	}
	return l.RateLimit
}
