package status

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// Promise: at most 1,000 campaigns are told apart, and what is counted of the
// others is not lost.
func TestCampaignsBeyondAThousandAreOthers(t *testing.T) {
	tally := NewTally()
	for i := range 1500 {
		tally.Add("cancelled", fmt.Sprint("campaign ", i), false)
	}
	tally.Add("expired", "campaign 3", true)
	o := tally.Outcomes()
	if len(o.Campaigns) != 1000 || o.Other == nil || o.Other.Cancelled != 500 || o.Total.Cancelled != 1500 {
		t.Errorf("%d campaigns, other %+v, total %+v", len(o.Campaigns), o.Other, o.Total)
	}
	if first := o.Campaigns[0]; first.ID != "campaign 3" || first.Counts != (Counts{Cancelled: 1, Expired: 1, Ambiguous: 1}) {
		t.Errorf("the newest outcome is not that of %+v", first)
	}
}

// Promise: a campaign of today has a row although there were 1,000 yesterday,
// and the sum over all rows stays the total.
func TestAnIdleCampaignMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tally := NewTally()
		for i := range 1000 {
			tally.Add("failed", fmt.Sprint("old ", i), false)
		}
		time.Sleep(2 * time.Hour)
		tally.Add("cancelled", "new", false)
		o := tally.Outcomes()
		if len(o.Campaigns) != 1 || o.Campaigns[0].ID != "new" || o.Other.Failed != 1000 {
			t.Errorf("%d campaigns, the first %+v, other %+v", len(o.Campaigns), o.Campaigns[0], o.Other)
		}
	})
}

// Promise: the rate is that of whole seconds, quiet ones included.
func TestOutcomesPerSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tally := NewTally()
		for second := range 3 {
			for range 10 * (second + 1) {
				tally.Add("cancelled", "", false)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(2 * time.Second)
		got := tally.Outcomes().PerSecond
		if len(got) != 60 || fmt.Sprint(got[53:]) != "[0 0 10 20 30 0 0]" {
			t.Errorf("%d seconds, the last %v", len(got), got[53:])
		}
		time.Sleep(time.Hour)
		if got := tally.Outcomes().PerSecond; fmt.Sprint(got) != fmt.Sprint(make([]int, 60)) {
			t.Errorf("an hour later %v", got)
		}
	})
}
