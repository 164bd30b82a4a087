package policy

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Rules are what the operator wants held back. The zero value holds nothing.
type Rules struct {
	PauseAll    bool
	SubAccounts []string // paused
	Campaigns   []string // paused
	Withdrawn   []string // campaigns whose requests fail without a call
}

// ruleSet is Rules in force, with the time since when each has been.
type ruleSet struct {
	all         time.Time // zero = not everything is paused
	subAccounts map[string]time.Time
	campaigns   map[string]time.Time
	withdrawn   map[string]time.Time
	shown       Snapshot // without Waiting
}

// newRuleSet keeps the times of what was in force already.
func newRuleSet(r Rules, before *ruleSet, now time.Time) *ruleSet {
	if before == nil {
		before = &ruleSet{}
	}
	s := &ruleSet{
		subAccounts: sinceWhen(r.SubAccounts, before.subAccounts, now),
		campaigns:   sinceWhen(r.Campaigns, before.campaigns, now),
		withdrawn:   sinceWhen(r.Withdrawn, before.withdrawn, now),
	}
	if r.PauseAll {
		s.all = now
		if !before.all.IsZero() {
			s.all = before.all
		}
	}
	s.shown = Snapshot{All: s.all, SubAccounts: list(s.subAccounts), Campaigns: list(s.campaigns), Withdrawn: list(s.withdrawn)}
	return s
}

func sinceWhen(ids []string, before map[string]time.Time, now time.Time) map[string]time.Time {
	since := make(map[string]time.Time, len(ids))
	for _, id := range ids {
		since[id] = now
		if at, ok := before[id]; ok {
			since[id] = at
		}
	}
	return since
}

// judge: what is withdrawn is so also while it is paused.
func (s *ruleSet) judge(subject Subject) error {
	switch {
	case s == nil:
		return nil
	case subject.CampaignID != "" && has(s.withdrawn, subject.CampaignID):
		return ErrWithdrawn
	case !s.all.IsZero(), has(s.subAccounts, subject.SubAccountID), subject.CampaignID != "" && has(s.campaigns, subject.CampaignID):
		return ErrPaused
	}
	return nil
}

func has(set map[string]time.Time, id string) bool {
	_, ok := set[id]
	return ok
}

// Snapshot is what is held back now, for status pages.
type Snapshot struct {
	All         time.Time // since when everything is paused; zero = it is not
	SubAccounts List      // paused
	Campaigns   List      // paused
	Withdrawn   List      // campaigns
	Waiting     map[string]int
}

// List is a set of ids of which only the newest are named.
type List struct {
	Total  int
	Newest []Held // at most 100, the newest first
}

// Held is one id, and since when the rule about it has been in force.
type Held struct {
	ID    string
	Since time.Time
}

// maxListed bounds a status page; the whole list stands in the operator's file.
const maxListed = 100

func list(since map[string]time.Time) List {
	all := make([]Held, 0, len(since))
	for id, at := range since {
		all = append(all, Held{id, at})
	}
	slices.SortFunc(all, func(a, b Held) int { return cmp.Or(b.Since.Compare(a.Since), cmp.Compare(a.ID, b.ID)) })
	return List{Total: len(all), Newest: slices.Clone(all[:min(len(all), maxListed)])}
}

// Snapshot returns what is held back now, and how many requests wait behind a
// pause, by sub-account.
func (p *Policy) Snapshot() Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	var s Snapshot
	if rules := p.rules.Load(); rules != nil {
		s = rules.shown
	}
	s.Waiting = maps.Clone(p.waiting)
	return s
}
