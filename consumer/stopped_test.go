package consumer

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/worker/policy"
)

// A campaign of three times the window is paused in one partition: that one stops
// fetching when it has what the sub-account may have in hand but for the part of the other
// partition (8 of its half of 10), and says so; the replica stays ready, the other
// partition goes on; when the pause ends every request is called once.
func TestAPausedCampaignStopsItsPartitionAndNoOther(t *testing.T) {
	s := newStage(t, 2)
	a := newAPI()
	r := s.consumer(a.call)
	r.window = newWindow(20, 1<<20)
	r.Handler.Policy = &policy.Policy{}
	r.Handler.Policy.Set(policy.Rules{Campaigns: []string{"wrong"}})
	var wrong []*kgo.Record
	for n := range 60 {
		record := request(0, n)
		record.Value = fmt.Appendf(nil, `{"umid":"wrong-%d","subAccountId":"acme_shop","campaignId":"wrong"}`, n)
		wrong = append(wrong, record)
	}
	s.send(s.client(), wrong...)
	s.publish(1, 0, 100)
	s.run(r)
	s.settled(100)
	s.eventually("the partition to say that it stopped", func() error {
		page := r.report()
		for _, p := range page.Partitions {
			stops := p.Partition == 0
			if stops != (p.FetchStopped != "") || stops != (p.FetchStoppedBy == "acme_shop") || stops && (p.Paused != 8 || p.InHand != 8) || !page.Ready {
				return fmt.Errorf("ready %v %s, partition %+v", page.Ready, page.Reason, p)
			}
		}
		if n := r.metric("smscancel_fetch_stopped"); len(page.Partitions) != 2 || n != 1 || r.log.line("partition fetches nothing more") == "" {
			return fmt.Errorf("%d partitions, metric %v", len(page.Partitions), n)
		}
		return nil
	})
	if messages, calls := a.called(); messages != 100 || calls != 100 {
		t.Errorf("%d calls for %d messages", calls, messages)
	}
	r.Handler.Policy.Set(policy.Rules{})
	s.settled(160)
	s.eventually("the partition to go on", func() error {
		r.report() // which refreshes the metric
		if r.metric("smscancel_fetch_stopped") != 0 || r.log.line("partition fetches again") == "" {
			return fmt.Errorf("it does not")
		}
		return nil
	})
	if messages, calls := a.called(); messages != 160 || calls != 160 {
		t.Errorf("%d calls for %d messages", calls, messages)
	}
	if n := strings.Count(r.log.String(), "fetches nothing more"); n != 1 {
		t.Errorf("said %d times", n)
	}
}
