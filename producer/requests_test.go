package producer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"smscancel/worker"
)

// requests are n of them, each with a key of its own.
func requests(n int) []Request {
	var all []Request
	for i := range n {
		all = append(all, Request{ID: fmt.Sprintf("UMID-%d", i), Value: fmt.Appendf(nil, `{"umid":"UMID-%d"}`, i)})
	}
	return all
}

// values are the records of a partition, in the order of the log.
func (b *bench) values(partition int) []string {
	b.t.Helper()
	var all []string
	for _, batch := range b.batches(partition) {
		for rec, err := range batch.Records() {
			if err != nil {
				b.t.Fatal(err)
			}
			all = append(all, string(rec.Key)+" "+string(rec.Value))
		}
	}
	return all
}

func TestRequestsArePublishedWhereTheirKeyBelongs(t *testing.T) {
	b := newBench(t, 4, nil)
	r := NewRequests(b.Client, outcomeTopic)
	pinned := 2
	all := append(requests(50), Request{ID: "UMID-1", Value: []byte("pinned"), Partition: &pinned}, Request{Value: []byte("no id")})
	for _, share := range [][]Request{all[:10], all[10:]} {
		spans, err := r.Publish(b.context(), share...)
		if err != nil {
			t.Fatal(err)
		}
		n := int64(0)
		for _, s := range spans {
			n += s.To - s.From
		}
		if n != int64(len(share)) {
			t.Errorf("%d requests, and %d are said to stand at %v", len(share), n, spans)
		}
	}
	found := 0
	for p := range 4 {
		for _, text := range b.values(p) {
			key, value, _ := strings.Cut(text, " ")
			want := kafka.Murmur2Balancer{Consistent: true}.Balance(kafka.Message{Key: []byte(key)}, 0, 1, 2, 3)
			if value == "pinned" {
				want = pinned
			}
			if p != want || key != strings.ToLower(key) {
				t.Errorf("%s stands in partition %d, not %d", text, p, want)
			}
			found++
		}
	}
	if found != len(all) {
		t.Errorf("%d records, want %d", found, len(all))
	}
}

// Fault: the broker has written a batch and its answer does not tell, or is lost;
// or it refuses a batch in a way that passes. Promise: every request stands there
// once, where it is said to, and the first failure is told.
func TestARequestStandsThereOnceThoughItsAcknowledgementWasLost(t *testing.T) {
	for name, break_ := range map[string]func(*bench){
		"error 7 after the write, twice": func(b *bench) { b.fail(kerr.RequestTimedOut, kerr.RequestTimedOut) },
		"the connection is lost, twice":  func(b *bench) { b.wire.lose.Store(2) },
		"the leader moves":               func(b *bench) { b.fail(kerr.NotLeaderForPartition, kerr.LeaderNotAvailable) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 1, nil)
			r := NewRequests(b.Client, outcomeTopic)
			troubles := 0
			r.Trouble = func(error) { troubles++ }
			for i := range 3 {
				if i == 1 {
					break_(b)
				}
				spans, err := r.Publish(b.context(), requests(3)...)
				if want := []Span{{0, int64(3 * i), int64(3*i + 3)}}; err != nil || !slices.Equal(spans, want) {
					t.Fatalf("published at %v, want %v: %v", spans, want, err)
				}
			}
			if n := len(b.values(0)); n != 9 || troubles != 2 {
				t.Errorf("%d records, want 9; %d troubles, want 2", n, troubles)
			}
		})
	}
}

// Fault: the topic takes less than a batch, and then less than one request.
// Promise: smaller batches, nothing twice; then the request is named.
func TestABatchOfRequestsTooLargeIsSplit(t *testing.T) {
	b := newBench(t, 1, small)
	r := NewRequests(b.Client, outcomeTopic)
	if _, err := r.Publish(b.context(), requests(200)...); err != nil {
		t.Fatal(err)
	}
	if got := b.values(0); len(got) != 200 || got[199] != `umid-199 {"umid":"UMID-199"}` {
		t.Errorf("%d records", len(got))
	}
	all := append(requests(2), Request{ID: "X", Value: make([]byte, 3000)})
	_, err := r.Publish(b.context(), all...)
	var large *TooLargeError
	if !errors.As(err, &large) || large.Index != 2 || !strings.Contains(err.Error(), "raise its max.message.bytes") {
		t.Errorf("%v", err)
	}
	if n := len(b.values(0)); n != 202 {
		t.Errorf("%d records, want 202", n)
	}
}

// Fault: the broker has just started and has no producer id to give yet, or gives
// none to this user. Promise: requests are published.
func TestAProducerIDThatIsNotToBeHadYetIsAskedForAgain(t *testing.T) {
	b := newBench(t, 1, nil)
	b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Count: 3, Err: kerr.CoordinatorLoadInProgress},
		kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Count: 1, Err: kerr.ClusterAuthorizationFailed})
	if _, err := NewRequests(b.Client, outcomeTopic).Publish(b.context(), requests(2)...); err != nil {
		t.Fatal(err)
	}
	if n := len(b.values(0)); n != 2 {
		t.Errorf("%d records, want 2", n)
	}
}

// Fault: the topic is missing, writing is not permitted, the broker fails for
// longer than is waited for, or the caller leaves. Promise: it ends, with the reason.
func TestPublishingEndsWhereItCannotGoOn(t *testing.T) {
	b := newBench(t, 1, nil)
	if err := NewRequests(b.Client, "missing").Open(b.context()); !errors.Is(err, kafka.UnknownTopicOrPartition) || !strings.Contains(err.Error(), "topic missing") {
		t.Errorf("a missing topic: %v", err)
	}
	far := 7
	if _, err := NewRequests(b.Client, outcomeTopic).Publish(b.context(), Request{Partition: &far}); !errors.Is(err, kafka.UnknownTopicOrPartition) {
		t.Errorf("a partition that is not there: %v", err)
	}
	b.fail(kerr.TopicAuthorizationFailed)
	if _, err := NewRequests(b.Client, outcomeTopic).Publish(b.context(), requests(1)...); !errors.Is(err, worker.ErrNotPermitted) && !errors.Is(err, kafka.TopicAuthorizationFailed) {
		t.Errorf("no permission: %v", err)
	}
	impatient := NewRequests(b.Client, outcomeTopic)
	impatient.Patience = 1
	b.fail(kerr.NotEnoughReplicas)
	if _, err := impatient.Publish(b.context(), requests(1)...); !errors.Is(err, kafka.NotEnoughReplicas) {
		t.Errorf("trouble that lasts: %v", err)
	}
	ctx, cancel := context.WithCancel(b.context())
	leaving := NewRequests(b.Client, outcomeTopic)
	leaving.Trouble = func(error) { cancel() }
	b.fail(kerr.NotEnoughReplicas)
	if _, err := leaving.Publish(ctx, requests(1)...); !errors.Is(err, kafka.NotEnoughReplicas) {
		t.Errorf("a caller who left: %v", err)
	}
	if n := len(b.values(0)); n != 0 {
		t.Errorf("%d records", n)
	}
}
