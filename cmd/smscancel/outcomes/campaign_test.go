package outcomes

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smscancel/consumer/scan"
	"smscancel/worker"
)

func settledAt(at time.Time, campaign string, partition int, offset int64) *Record {
	return &Record{At: at, Outcome: &worker.Outcome{CampaignID: campaign, Source: worker.OutcomeSource{Topic: "r", Partition: partition, Offset: offset}}}
}

// Retention has deleted requests 0 to 9 and, perhaps, outcomes; the reading ends
// at 100.
func TestProgressCountsWhatStandsAndSaysWhatIsGone(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	c := NewCampaigns([]string{"autumn", "none"}, []*scan.Topic{{Name: "r", Parts: []scan.Part{{First: 10, From: 10, To: 100}}}})
	c.Ledger(&scan.Topic{Parts: []scan.Part{{First: 1}}})
	for range 90 {
		c.Requested("autumn")
	}
	for offset := range int64(40) {
		c.Settled(settledAt(now.Add(-time.Minute+time.Duration(offset)*time.Second), "autumn", 0, offset))
	}
	c.Settled(settledAt(now, "autumn", 0, 100)) // requested after the reading began
	for _, foreign := range []*Record{settledAt(now, "x", 0, 50), settledAt(now, "autumn", 7, 50), settledAt(now, "autumn", -1, 50)} {
		c.Settled(foreign)
	}
	all := c.Report(now)
	require.NotNil(t, all[0].End)
	assert.InDelta(t, 60/(40.0/60), all[0].End.Sub(now).Seconds(), 3, "60 remain, about 40 were settled in the last minute")
	all[0].End = nil
	assert.Equal(t, []CampaignReport{{Campaign: "autumn", Requested: 90, Settled: 30, Remaining: 60, Deleted: 10}, {Campaign: "none"}}, all)
	assert.Nil(t, c.Report(now.Add(time.Hour))[0].End, "nothing within the last minute")
	var out bytes.Buffer
	c.Print(&out, now.Add(time.Hour))
	assert.Contains(t, out.String(), "10 more outcomes are of requests that retention has deleted")
	assert.Contains(t, out.String(), "some of what remains may have been settled")
	assert.Contains(t, out.String(), "unknown: nothing was settled within the last minute")
}

func TestTheRateIsThatOfTheLastMinuteWhateverTheTimes(t *testing.T) {
	var w window
	base := time.Unix(1_800_000_000, 0)
	for second := range 600 {
		for range 5 {
			w.add(base.Add(time.Duration(second) * time.Second))
		}
	}
	assert.InDelta(t, 5, w.rate(base.Add(599*time.Second)), 0.1)
	assert.InDelta(t, 2.5, w.rate(base.Add(629*time.Second)), 0.1)
	assert.Zero(t, w.rate(base.Add(time.Hour)))
	for _, at := range []time.Time{{}, time.UnixMilli(-1 << 60), time.UnixMilli(1 << 60), time.Unix(0, 0)} {
		w.add(at)
		w.rate(at)
		w.rate(base)
	}
	var young window
	young.add(base)
	assert.InDelta(t, 0.5, young.rate(base.Add(time.Second)), 0.01, "one in two seconds")
}
