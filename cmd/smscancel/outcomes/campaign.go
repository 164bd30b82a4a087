package outcomes

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"smscancel/consumer/scan"
	"smscancel/worker"
)

// Campaigns is how far some campaigns are: all their requests that stand in the
// request topics are told first (Requested), then all outcomes, in the order of
// their time (Settled).
type Campaigns struct {
	ids      []string
	progress map[string]*campaign
	topics   map[string]*scan.Topic // request topics, by name

	outcomesDeleted bool
}

// campaign is one of them.
type campaign struct {
	requested, settled, gone int64
	recent                   window
}

// NewCampaigns begins with nothing requested. Topics are the request topics as
// they are read.
func NewCampaigns(ids []string, topics []*scan.Topic) *Campaigns {
	c := &Campaigns{ids: ids, progress: map[string]*campaign{}, topics: map[string]*scan.Topic{}}
	for _, id := range ids {
		c.progress[id] = &campaign{}
	}
	for _, t := range topics {
		c.topics[t.Name] = t
	}
	return c
}

// Has tells whether a campaign is one of them.
func (c *Campaigns) Has(id string) bool { return c.progress[id] != nil }

// Requested counts a request of one of them.
func (c *Campaigns) Requested(id string) bool {
	c.progress[id].requested++
	return true
}

// Ledger is the outcome topic as it is read.
func (c *Campaigns) Ledger(t *scan.Topic) {
	c.outcomesDeleted = slices.ContainsFunc(t.Parts, func(p scan.Part) bool { return p.First > 0 })
}

// CampaignOf is the campaign that a request names, also one that is not valid:
// its outcome, too, names it.
func CampaignOf(rec *worker.Record) string {
	req, err := worker.Parser{DefaultSubAccount: "any"}.Parse(rec)
	if rejection, ok := err.(*worker.Rejection); ok { //nolint:errorlint // Parse says that it is nothing else
		req = rejection.Partial
	}
	if req == nil {
		return ""
	}
	return req.CampaignID
}

// Settled counts an outcome. Those of requests that came after the reading
// began do not count, those of requests that retention has deleted only apart.
func (c *Campaigns) Settled(o *Record) {
	p := c.progress[o.CampaignID]
	topic := c.topics[o.Source.Topic]
	if p == nil || topic == nil || o.Source.Partition < 0 || o.Source.Partition >= len(topic.Parts) {
		return
	}
	switch part := topic.Parts[o.Source.Partition]; {
	case o.Source.Offset < part.First:
		p.gone++
	case o.Source.Offset < part.To:
		p.settled++
	}
	p.recent.add(o.At)
}

// CampaignReport is how far a campaign is.
type CampaignReport struct {
	Campaign  string     `json:"campaignId"`
	Requested int64      `json:"requested"`
	Settled   int64      `json:"settled"`
	Remaining int64      `json:"remaining"`
	End       *time.Time `json:"estimatedEnd,omitempty"` // by the rate of the last minute
	Deleted   int64      `json:"settledAndDeleted,omitempty"`
}

const longestEstimate = 10 * 365 * 24 * time.Hour

// Report returns how far the campaigns are.
func (c *Campaigns) Report(now time.Time) []CampaignReport {
	var all []CampaignReport
	for _, id := range c.ids {
		p := c.progress[id]
		r := CampaignReport{Campaign: id, Requested: p.requested, Settled: p.settled, Remaining: max(p.requested-p.settled, 0), Deleted: p.gone}
		if rate := p.recent.rate(now); rate > 0 && r.Remaining > 0 {
			seconds := min(float64(r.Remaining)/rate, longestEstimate.Seconds())
			end := now.Add(time.Duration(seconds * float64(time.Second))).UTC().Truncate(time.Second)
			r.End = &end
		}
		all = append(all, r)
	}
	return all
}

// Print shows a person how far the campaigns are.
func (c *Campaigns) Print(w io.Writer, now time.Time) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nCAMPAIGN\tREQUESTED\tSETTLED\tREMAINING\tESTIMATED END")
	gone := int64(0)
	for _, r := range c.Report(now) {
		end := "-"
		switch {
		case r.End != nil:
			end = fmt.Sprintf("%s (in %s)", r.End.Format(time.RFC3339), r.End.Sub(now).Round(time.Second))
		case r.Remaining > 0:
			end = "unknown: nothing was settled within the last minute"
		}
		gone += r.Deleted
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%s\n", Safe(r.Campaign), r.Requested, r.Settled, r.Remaining, end)
	}
	t.Flush() //nolint:errcheck // a terminal
	if gone > 0 {
		fmt.Fprintf(w, "%d more outcomes are of requests that retention has deleted\n", gone)
	}
	if c.outcomesDeleted {
		fmt.Fprintln(w, "retention has deleted outcomes: some of what remains may have been settled")
	}
}

// window counts what happened in each of the last sixty seconds.
type window struct {
	counts [60]int64
	newest int64 // Unix seconds; 0 = nothing yet
	first  int64
}

func (w *window) add(at time.Time) {
	second := max(at.Unix(), 1)
	if w.newest == 0 {
		w.newest, w.first = second, second
	}
	for ; w.newest < second; w.newest++ {
		if second-w.newest > int64(len(w.counts)) {
			w.newest = second - int64(len(w.counts))
		}
		w.counts[(w.newest+1)%int64(len(w.counts))] = 0
	}
	if second > w.newest-int64(len(w.counts)) {
		w.counts[second%int64(len(w.counts))]++
	}
}

// rate is what happened per second within the minute before now, or since the
// first if that is less.
func (w *window) rate(now time.Time) float64 {
	sum, size := int64(0), int64(len(w.counts))
	for second := max(w.newest-size+1, now.Unix()-size+1, 0); second <= w.newest; second++ {
		sum += w.counts[second%size]
	}
	if w.newest == 0 || sum == 0 {
		return 0
	}
	return float64(sum) / float64(min(max(now.Unix()-w.first+1, 1), size))
}
