package integration

import (
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
)

// Promise: an outcome topic that would lose outcomes stops the start with exit
// code 1 and a reason; nothing is handled.
func TestAnOutcomeTopicThatBreaksTheGuaranteesStopsTheStart(t *testing.T) {
	kafkatest.Require(t)
	cluster := kafkatest.Shared(t)
	w := newWorld(t, cluster, 1, simulator.Options{})
	w.publish(batchOf(0, 3)...)
	base := w.outcomes
	for name, c := range map[string]struct {
		settings map[string]string
		reason   string
	}{
		"compact":            {map[string]string{"cleanup.policy": "compact"}, "cleanup.policy=compact"},
		"compact-and-delete": {map[string]string{"cleanup.policy": "compact,delete"}, "cleanup.policy=compact,delete"},
		"size":               {map[string]string{"retention.bytes": "1073741824"}, "retention.bytes=1073741824"},
		"short":              {map[string]string{"retention.ms": "86399999"}, "retention.ms=86399999"}, // the window is 24 h
	} {
		t.Run(name, func(t *testing.T) {
			own := *w
			w := &own
			w.t, w.outcomes = t, base+"."+name
			cluster.CreateTopic(w.outcomes, 1, c.settings)
			r := w.start(name)
			w.eventually("the worker to end", func() error {
				if !r.ended() {
					return errNotYet
				}
				return nil
			})
			if code := r.cmd.ProcessState.ExitCode(); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			for _, text := range []string{"topic " + w.outcomes, c.reason} {
				if r.logged(text) == 0 {
					t.Errorf("the output does not say %q", text)
				}
			}
			if n := w.countOutcomes(); n != 0 {
				t.Errorf("%d outcomes were written", n)
			}
		})
	}
	if n := len(w.sim.Calls()); n != 0 {
		t.Errorf("%d calls were made", n)
	}
}

// worksNow proves that a replica which had to wait handles requests now.
func (w *world) worksNow(r *replica) {
	w.t.Helper()
	w.waitReady(r)
	w.waitRunning(r)
	w.publish(batchOf(0, 10)...)
	w.waitForOutcomes(10)
	r.stop()
	w.audit()
}

// Fault: a topic does not exist yet. Promise: the worker stays up, says which
// one it waits for, and begins once it is there.
func TestAWorkerWaitsForAMissingTopic(t *testing.T) {
	kafkatest.Require(t)
	t.Parallel()
	cluster := kafkatest.Shared(t)
	w := newWorld(t, cluster, 2, simulator.Options{})
	w.outcomes, w.requests = w.outcomes+".late", w.requests+".late"
	r := w.start("early")
	w.waitUnready(r, w.outcomes)
	cluster.CreateTopic(w.outcomes, 2, map[string]string{"retention.ms": "1209600000"})
	w.waitUnready(r, w.requests)
	cluster.CreateTopic(w.requests, 2, nil)
	w.worksNow(r)
}

// Fault: no broker listens. Promise: the worker stays up, says so, and begins
// once one does.
func TestAWorkerWaitsForAnUnreachableBroker(t *testing.T) {
	kafkatest.Require(t)
	w := newWorld(t, kafkatest.Shared(t), 2, simulator.Options{})
	door := reservePort(t)
	r := w.startAt([]string{door.address}, "early")
	w.waitUnready(r, "waiting for Kafka", "connection refused")
	door.open(w.brokers[0])
	w.worksNow(r)
}

// Fault: the outcome topic got one partition more while the group was stopped.
// Promise: nothing is written, no call is made, and the worker says why, with
// both counts.
func TestAnotherPartitionCountOfTheOutcomeTopicIsRefused(t *testing.T) {
	kafkatest.Require(t)
	w := newWorld(t, kafkatest.Shared(t), 3, simulator.Options{})
	r := w.start("before")
	w.publish(batchOf(0, 30)...)
	w.waitForOutcomes(30)
	r.stop()
	calls := len(w.sim.Calls())
	changed, err := w.admin().UpdatePartitions(within(t), 4, w.outcomes)
	if err == nil {
		err = changed.Error()
	}
	if err != nil {
		t.Fatalf("add a partition: %v", err)
	}
	w.eventually("the new partition to be seen", func() error {
		if len(w.ends(w.outcomes)) != 4 {
			return errNotYet
		}
		return nil
	})
	ends := w.ends(w.outcomes)
	w.publish(batchOf(1_000, 10)...)

	for name, group := range map[string]string{"same-group": w.group, "fresh-group": w.group + ".fresh"} {
		r = w.start(name, "--group", group)
		w.waitUnready(r, w.outcomes+" has 4 partitions", "written with 3")
		r.stop()
	}
	for p, end := range w.ends(w.outcomes) {
		if end != ends[p] {
			t.Errorf("outcome partition %d grew from %d to %d", p, ends[p], end)
		}
	}
	if n := len(w.sim.Calls()); n != calls {
		t.Errorf("%d calls were made", n-calls)
	}
}

// Fault: the outcome topic gets one partition more while requests flow. Promise:
// every call in hand gets its outcome, where those before it stand; after that no
// call is made and nothing is written, by this worker or one that joins it, and
// both name the two counts. With a new outcome topic the rest is handled.
func TestAPartitionAddedToTheOutcomeTopicStopsARunningWorker(t *testing.T) {
	kafkatest.Require(t)
	t.Parallel()
	const total = 2_000
	w := newWorld(t, kafkatest.Shared(t), 3, slow(100*time.Millisecond))
	r := w.start("worker", "--concurrency", "20")
	w.waitRunning(r)
	w.ask(0, total)
	w.waitForOutcomes(100)
	if _, err := w.admin().UpdatePartitions(within(t), 4, w.outcomes); err != nil {
		t.Fatalf("add a partition: %v", err)
	}
	reason := []string{w.outcomes + " has 4 partitions", "written with 3"}
	w.waitUnready(r, reason...)
	w.eventually("all partitions to stop", func() error {
		s, err := r.status()
		for _, p := range s.Partitions {
			if err == nil && p.State != "waiting" {
				err = fmt.Errorf("partition %d: %s", p.Partition, p.State)
			}
		}
		return err
	})
	calls := w.sim.Summary().Calls
	another := w.start("another")
	w.waitUnready(another, reason...)
	another.stop()
	old, attempts := w.readOutcomes(), 0
	for _, f := range old {
		attempts += f.outcome.Attempts
		if f.outcome.Ambiguous {
			t.Errorf("ambiguous: %s", f.record.Value)
		}
	}
	if n := w.sim.Summary().Calls; n != calls || attempts != int(n) || len(old) == total {
		t.Errorf("%d calls when it stopped, %d later, %d in its %d outcomes of %d", calls, n, attempts, len(old), total)
	}
	r.stop()

	w.outcomes += ".new"
	w.cluster.CreateTopic(w.outcomes, 4, map[string]string{"retention.ms": "1209600000"})
	w.n = 4
	r = w.start("new-topic")
	w.waitSettled(r)
	r.stop()
	handled := w.readOutcomes()
	t.Logf("%d outcomes in the old topic, %d in the new one, %d requests", len(old), len(handled), total)
	for at, f := range old {
		handled[at] = f
	}
	if len(handled) != total {
		t.Errorf("%d of %d requests have an outcome", len(handled), total)
	}
}

// door is an address at which nobody listens until it is opened.
type door struct {
	t       *testing.T
	address string
	socket  *os.File
}

// reservePort binds a loopback port without listening: connections are
// refused, and nobody else can take it.
func reservePort(t *testing.T) *door {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	socket := os.NewFile(uintptr(fd), "reserved port")
	t.Cleanup(func() { _ = socket.Close() })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	bound, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := bound.(*syscall.SockaddrInet4).Port
	return &door{t, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), socket}
}

// open leads every connection to a broker from now on.
func (d *door) open(broker string) {
	d.t.Helper()
	if err := syscall.Listen(int(d.socket.Fd()), syscall.SOMAXCONN); err != nil {
		d.t.Fatal(err)
	}
	listener, err := net.FileListener(d.socket)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go forward(conn, broker)
		}
	}()
}

// forward copies both ways until either side closes.
func forward(conn net.Conn, address string) {
	defer func() { _ = conn.Close() }()
	onward, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer func() { _ = onward.Close() }()
	go func() {
		_, _ = io.Copy(onward, conn)
		_ = onward.Close()
	}()
	_, _ = io.Copy(conn, onward)
}
