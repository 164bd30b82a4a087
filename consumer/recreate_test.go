package consumer

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Fault: the request topic is deleted and created again under a running worker,
// and refilled beyond the offset that was read; the broker answers "unknown
// topic", then "not the leader". Promise: every record of the new topic has its
// outcome too, those below the old offset included.
func TestRequestsOfARecreatedTopicAreNotLost(t *testing.T) {
	s := newStage(t, 1)
	s.start(newAPI().call)
	s.publish(0, 0, 5)
	s.settled(5)
	s.committedAt(0, 5)
	fault := s.fetchFault()
	fault.answer(kerr.UnknownTopicOrPartition)
	s.recreate()
	fresh, err := kgo.NewClient(kgo.SeedBrokers(s.addr), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fresh.Close)
	for n := 100; n < 110; n++ {
		if err := fresh.ProduceSync(t.Context(), request(0, n)).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	fault.answer(kerr.NotLeaderForPartition)
	fault.answer(nil)
	s.eventually("the outcomes of both topics", func() error {
		if n := s.book.len(); n != 15 {
			return fmt.Errorf("there are %d of 15", n)
		}
		return nil
	})
}

// Fault: the leader of the request partition moves. The new one, for a while,
// knows only a high watermark that has been read beyond; or a suspended one wakes
// up and takes itself for the leader, whose log ends before. Promise: that is no
// other log, and the session goes on, unless it stays so.
func TestALeaderThatLagsIsNotAnotherLog(t *testing.T) {
	for name, answer := range map[string]*kerr.Error{"a low high watermark": {}, "a log that ends before": kerr.OffsetOutOfRange} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, 1)
			s.commitAs(nil, metadata{}, 0, "") // so that there is a group
			r := s.consumer(newAPI().call)
			reader, _, err := r.takeOver(topicPartition{topic, 0})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(reader.close)
			s.publish(0, 0, 5)
			if at, err := reader.fetchOnce(0); err != nil || at != 5 {
				t.Fatalf("read up to %d, %v", at, err)
			}
			fault := s.fetchFault()
			for _, lags := range []bool{true, true, false, true, false} {
				reader.doubtful = true // as after any trouble
				fault.set(nil)
				if lags {
					fault.set(answer)
				}
				if at, err := reader.fetchOnce(5); (err != nil) != lags || errors.Is(err, errOtherLog) || at != 5 {
					t.Errorf("while the leader lags (%t): %v, goes on at %d", lags, err, at)
				}
			}
			reader.doubtful = true
			fault.set(answer)
			_, before := reader.fetchOnce(5)
			reader.shortSince = reader.shortSince.Add(-2 * leaderPatience)
			_, after := reader.fetchOnce(5)
			if errors.Is(before, errOtherLog) || !errors.Is(after, errOtherLog) {
				t.Errorf("at first %v, and when it stays so %v", before, after)
			}
		})
	}
}

// recreate deletes the request topic and creates it again.
func (s *stage) recreate() {
	s.t.Helper()
	name := topic
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TopicNames = []string{name}
	req.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: &name}}
	if _, err := req.RequestWith(s.t.Context(), s.client()); err != nil {
		s.t.Fatal(err)
	}
	if err := s.cluster.CreateTopic(name, 1, nil); err != nil {
		s.t.Fatal(err)
	}
}

// fetchFault lets a test answer fetches with an error.
type fetchFault struct {
	mu   sync.Mutex
	err  *kerr.Error // nil = as usual
	seen chan struct{}
}

func (s *stage) fetchFault() *fetchFault {
	f := &fetchFault{}
	s.cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		s.cluster.KeepControl()
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.err == nil {
			return nil, nil, false
		}
		select {
		case f.seen <- struct{}{}:
		default:
		}
		return refusal(req.(*kmsg.FetchRequest), f.err.Code), nil, true
	})
	return f
}

// answer answers every fetch with err from now on, and returns when one was.
func (f *fetchFault) answer(err *kerr.Error) {
	if seen := f.set(err); err != nil {
		<-seen
	}
}

// set is answer for who does not wait.
func (f *fetchFault) set(err *kerr.Error) (seen chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err, f.seen = err, make(chan struct{}, 1)
	return f.seen
}

func refusal(req *kmsg.FetchRequest, code int16) kmsg.Response {
	res := req.ResponseKind().(*kmsg.FetchResponse)
	for _, t := range req.Topics {
		rt := kmsg.NewFetchResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			rp := kmsg.NewFetchResponseTopicPartition()
			rp.Partition, rp.ErrorCode = p.Partition, code
			rt.Partitions = append(rt.Partitions, rp)
		}
		res.Topics = append(res.Topics, rt)
	}
	return res
}
