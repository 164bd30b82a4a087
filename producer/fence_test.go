package producer

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"smscancel/worker"
)

// The coordinator is busy, moving, or still writing markers.
func TestFenceOutlastsACoordinatorThatIsNotReady(t *testing.T) {
	b := newBench(t, 1, nil)
	faults := b.cluster.Fault(
		kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.CoordinatorLoadInProgress, Count: 2},
		kfake.Fault{Keys: []kmsg.Key{kmsg.AddPartitionsToTxn}, Err: kerr.ConcurrentTransactions, Count: 2},
		kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.NotCoordinator, Count: 1},
		kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.ConcurrentTransactions, Count: 2},
	)
	w := b.writer(0)
	b.durable(w.Append(outcomeAt(0, 1)))
	if faults.Hits() != 7 {
		t.Errorf("%d of 7 faults were met", faults.Hits())
	}
}

func TestFenceSaysWhatIsNotPermitted(t *testing.T) {
	b := newBench(t, 1, nil)
	for _, fault := range []kfake.Fault{
		{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.TransactionalIDAuthorizationFailed},
		{Keys: []kmsg.Key{kmsg.AddPartitionsToTxn}, Err: kerr.TopicAuthorizationFailed},
	} {
		b.cluster.Fault(fault)
		if _, err := b.Fence(b.context(), requestTopic, 0); !errors.Is(err, worker.ErrNotPermitted) {
			t.Errorf("%v: %v", fault.Err, err)
		}
	}
}

// Who takes over twice has two epochs of one producer: the second one's commit
// metadata shows that nobody wrote in between.
func TestEachFenceRaisesTheEpochByOne(t *testing.T) {
	b := newBench(t, 1, nil)
	pid, epoch := b.writer(0).Identity()
	for i := range int16(3) {
		if p, e := b.writer(0).Identity(); p != pid || e != epoch+i+1 {
			t.Errorf("producer %d epoch %d after %d epoch %d", p, e, pid, epoch+i)
		}
	}
}
