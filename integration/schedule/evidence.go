package schedule

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/integration/checker"
)

func evidence(r *kgo.Record) checker.Record {
	c := checker.Record{Topic: r.Topic, Partition: int(r.Partition), Offset: r.Offset, Timestamp: r.Timestamp, Key: r.Key, Value: r.Value,
		ProducerID: r.ProducerID, ProducerEpoch: r.ProducerEpoch}
	for _, h := range r.Headers {
		c.Headers = append(c.Headers, checker.Header{Key: h.Key, Value: h.Value})
	}
	return c
}

// gather collects what the run left behind.
func (w *world) gather() (*checker.Run, error) {
	outcomes, err := w.read(outcomeTopic)
	if err != nil {
		return nil, err
	}
	s := w.plan.Setting
	run := &checker.Run{
		Requests: requests(w.published), Outcomes: outcomes, Calls: w.sim.Calls(), Commits: w.commits,
		Setup: checker.Setup{
			ClusterID: clusterID, Group: group, OutcomeTopic: outcomeTopic, N: s.N, Window: s.DedupeWindow, SessionTimeout: s.SessionTimeout,
			AttemptTimeout: s.AttemptTimeout, DefaultSubAccount: s.DefaultSubAccount, Canary: canary, LostBelow: w.lostBelow,
			CallsLost:  w.plan.has((*Event).losesCalls),
			Held:       w.file.evidence(),
			OffsetsSet: w.plan.has(func(e *Event) bool { return e.Kind == SetOffset }),
		},
	}
	if w.plan.has(func(e *Event) bool { return e.Code == 10 }) { // MESSAGE_TOO_LARGE: outcomes leave out what they can
		run.Setup.MaxOutcomeBytes = 1
	}
	for _, r := range w.everyReplica() {
		run.Logs = append(run.Logs, r.log.evidence(r.name))
		run.Outputs = append(run.Outputs, checker.Output{Name: "metrics and status of " + r.name, Text: r.pages()})
	}
	return run, nil
}

// read reads a topic from its start to its end, markers left out.
func (w *world) read(topic string) ([]checker.Record, error) {
	ends := map[int32]int64{}
	for _, p := range w.cluster.PartitionInfos(topic) {
		if p.HighWatermark > p.LogStartOffset {
			ends[p.Partition] = p.HighWatermark
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.Dialer(w.own.dialKafka), kgo.ConsumeTopics(topic),
		kgo.FetchIsolationLevel(kgo.ReadUncommitted()), kgo.KeepControlRecords(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var all []checker.Record
	for len(ends) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("read %s: %w", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				all = append(all, evidence(r))
			}
			if r.Offset+1 >= ends[r.Partition] {
				delete(ends, r.Partition)
			}
		})
	}
	return all, nil
}

// pages are the metrics and the status as the process would serve them.
func (r *replica) pages() []byte {
	page := httptest.NewRecorder()
	promhttp.HandlerFor(r.process.Metrics().Registry, promhttp.HandlerOpts{}).ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return fmt.Appendf(page.Body.Bytes(), "%+v", r.process.Status())
}

// states is what the processes say of themselves when the run does not end.
func (w *world) states() string {
	var b strings.Builder
	for _, r := range w.everyReplica() {
		if r.lives() {
			s := r.process.Status()
			fmt.Fprintf(&b, "\n%s: ready %v %s, partitions %+v, sub-accounts %+v", r.name, s.Ready, s.Reason, s.Partitions, s.SubAccounts)
		}
	}
	return b.String()
}
