package status

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Counts are outcomes by status.
type Counts struct {
	Cancelled    int64 `json:"cancelled"`
	NotCancelled int64 `json:"notCancelled"`
	Failed       int64 `json:"failed"`
	Duplicate    int64 `json:"duplicate"`
	Expired      int64 `json:"expired"`
	Rejected     int64 `json:"rejected"`
	Ambiguous    int64 `json:"ambiguous"` // of those above
}

// add counts n more of them. A status is that of an outcome.
func (c *Counts) add(status string, ambiguous bool) {
	switch status {
	case "cancelled":
		c.Cancelled++
	case "not_cancelled":
		c.NotCancelled++
	case "failed":
		c.Failed++
	case "duplicate":
		c.Duplicate++
	case "expired":
		c.Expired++
	case "rejected":
		c.Rejected++
	}
	if ambiguous {
		c.Ambiguous++
	}
}

func (c *Counts) merge(o Counts) {
	c.Cancelled += o.Cancelled
	c.NotCancelled += o.NotCancelled
	c.Failed += o.Failed
	c.Duplicate += o.Duplicate
	c.Expired += o.Expired
	c.Rejected += o.Rejected
	c.Ambiguous += o.Ambiguous
}

// Outcomes are those that this process has made durable.
type Outcomes struct {
	Since     time.Time  `json:"since"`
	Total     Counts     `json:"total"`
	PerSecond []int      `json:"perSecond"`       // of the last 60 whole seconds, the oldest first
	Campaigns []Campaign `json:"campaigns"`       // the one with the newest outcome first
	Other     *Counts    `json:"other,omitempty"` // of campaigns beyond the first 1,000
}

// Campaign counts the outcomes of one campaign; an empty id is none.
type Campaign struct {
	ID    string    `json:"campaignId"`
	Since time.Time `json:"since"` // from when on they are counted here
	Last  time.Time `json:"last"`
	Counts
}

const (
	maxCampaigns = 1000
	idleCampaign = time.Hour // after this a campaign makes room for another
	seconds      = 60
)

// Tally counts outcomes for the status page. It is safe for concurrent use.
type Tally struct {
	mu        sync.Mutex
	since     time.Time
	total     Counts
	campaigns map[string]*Campaign
	other     Counts
	others    bool
	swept     time.Time // when idle campaigns were last looked for
	second    int64     // the newest, in Unix time
	ring      [seconds + 1]int
}

// NewTally begins to count.
func NewTally() *Tally {
	return &Tally{since: time.Now(), campaigns: map[string]*Campaign{}}
}

// Add counts a durable outcome.
func (t *Tally) Add(status, campaignID string, ambiguous bool) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turn(now)
	t.ring[t.second%int64(len(t.ring))]++
	t.total.add(status, ambiguous)
	c := t.campaigns[campaignID]
	if c == nil && t.room(now) {
		c = &Campaign{ID: campaignID, Since: now}
		t.campaigns[campaignID] = c
	}
	if c == nil {
		t.others = true
		t.other.add(status, ambiguous)
		return
	}
	c.Last = now
	c.add(status, ambiguous)
}

// turn empties the seconds that have begun since the last look. The clock may be
// set back: then the newest second stays the newest.
func (t *Tally) turn(now time.Time) {
	for n := min(now.Unix()-t.second, int64(len(t.ring))); n > 0; n-- {
		t.ring[(now.Unix()-n+1)%int64(len(t.ring))] = 0
	}
	t.second = max(t.second, now.Unix())
}

// room tells whether there is place for one more campaign. Those that have been
// idle for long go to the others.
func (t *Tally) room(now time.Time) bool {
	if len(t.campaigns) < maxCampaigns {
		return true
	}
	if now.Sub(t.swept) < time.Second {
		return false
	}
	t.swept = now
	for id, c := range t.campaigns {
		if now.Sub(c.Last) > idleCampaign {
			t.other.merge(c.Counts)
			t.others = true
			delete(t.campaigns, id)
		}
	}
	return len(t.campaigns) < maxCampaigns
}

// Outcomes is the tally as it stands.
func (t *Tally) Outcomes() Outcomes {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turn(time.Now())
	o := Outcomes{Since: t.since, Total: t.total, PerSecond: make([]int, 0, seconds), Campaigns: make([]Campaign, 0, len(t.campaigns))}
	for s := t.second - seconds; s < t.second; s++ {
		o.PerSecond = append(o.PerSecond, t.ring[s%int64(len(t.ring))])
	}
	for _, c := range t.campaigns {
		o.Campaigns = append(o.Campaigns, *c)
	}
	slices.SortFunc(o.Campaigns, func(a, b Campaign) int { return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.ID, b.ID)) })
	if t.others {
		o.Other = new(t.other)
	}
	return o
}
