package records

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
)

// wire is a connection: what is written to it, and what it answers.
type wire struct {
	written bytes.Buffer
	answer  io.Reader
}

func (w *wire) Write(b []byte) (int, error) { return w.written.Write(b) }
func (w *wire) Read(b []byte) (int, error)  { return w.answer.Read(b) }

func answer(size, id uint32, body []byte) io.Reader {
	head := binary.BigEndian.AppendUint32(nil, size)
	return bytes.NewReader(append(binary.BigEndian.AppendUint32(head, id), body...))
}

func exchangeFor(req FetchRequest, version int16) *exchange {
	x := newExchange(req.withDefaults(), "client")
	x.Required(map[protocol.ApiKey]int16{protocol.Fetch: version})
	return x
}

func TestTheRequestSaysWhatWasAskedFor(t *testing.T) {
	for version := int16(minVersion); version <= 11; version++ {
		body := responseOf(version, "t", 3, partitionResponse{highWatermark: 8})
		w := &wire{answer: answer(uint32(len(body)+4), correlationID, body)}
		x := exchangeFor(FetchRequest{
			Topic: "t", Partition: 3, Offset: 7, MaxBytes: 1000, MinBytes: 10, MaxWait: 1500 * time.Millisecond, ReadCommitted: true,
		}, version)
		if _, err := x.RawExchange(w); err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		v, id, client, msg, err := protocol.ReadRequest(&w.written)
		if err != nil || v != version || id != correlationID || client != "client" {
			t.Fatalf("version %d: read back %d, %d, %q, %v", version, v, id, client, err)
		}
		req := msg.(*fetch.Request)
		part := req.Topics[0].Partitions[0]
		if req.ReplicaID != -1 || req.MaxWaitTime != 1500 || req.MinBytes != 10 || req.MaxBytes != math.MaxInt32 || req.IsolationLevel != 1 ||
			req.Topics[0].Topic != "t" || part.Partition != 3 || part.FetchOffset != 7 || part.PartitionMaxBytes != 1000 {
			t.Errorf("version %d: request %+v", version, req)
		}
		if version >= 7 && (req.SessionID != 0 || req.SessionEpoch != -1) || version >= 9 && part.CurrentLeaderEpoch != -1 {
			t.Errorf("version %d: request %+v", version, req)
		}
	}
}

func TestLimitsOfTheRequestAreSane(t *testing.T) {
	for name, c := range map[string]struct {
		req               FetchRequest
		most, least, wait int32
	}{
		"defaults": {FetchRequest{}, defaultMaxBytes, 1, 0},
		"negative": {FetchRequest{MaxBytes: -1, MinBytes: -1, MaxWait: -1}, defaultMaxBytes, 1, 0},
		"huge":     {FetchRequest{MaxBytes: math.MaxInt, MinBytes: math.MaxInt, MaxWait: math.MaxInt64}, maxResponse, maxResponse, math.MaxInt32},
		"one byte": {FetchRequest{MaxBytes: 1, MinBytes: 5}, 1, 1, 0},
	} {
		x := newExchange(c.req.withDefaults(), "")
		if x.Topics[0].Partitions[0].PartitionMaxBytes != c.most || x.MinBytes != c.least || x.MaxWaitTime != c.wait {
			t.Errorf("%s: %+v, %d, %d", name, x.Topics, x.MinBytes, x.MaxWaitTime)
		}
	}
}

func TestResponsesThatCannotBeAreRefused(t *testing.T) {
	body := responseOf(11, "t", 0, partitionResponse{})
	size := uint32(len(body) + 4)
	for name, c := range map[string]struct {
		answer io.Reader
		says   string
	}{
		"empty":              {bytes.NewReader(nil), "EOF"},
		"cut in its header":  {bytes.NewReader([]byte{0, 0, 0, 9, 1}), "unexpected EOF"},
		"cut in its body":    {answer(size, correlationID, body[:9]), "unexpected EOF"},
		"cut behind header":  {answer(size, correlationID, nil), "unexpected EOF"},
		"too large":          {answer(1000+maxResponse+1, correlationID, nil), "at most"},
		"negative size":      {answer(math.MaxUint32, correlationID, nil), "at most"},
		"size below an id":   {answer(3, correlationID, nil), "at most"},
		"of another request": {answer(size, 5, body), "correlation id 5"},
		"malformed":          {answer(size-1, correlationID, body[:len(body)-1]), "malformed"},
	} {
		x := exchangeFor(FetchRequest{Topic: "t", MaxBytes: 1000}, 11)
		if _, err := x.RawExchange(&wire{answer: c.answer}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

func TestABrokerTooOldIsNamed(t *testing.T) {
	w := &wire{}
	if _, err := exchangeFor(FetchRequest{}, 3).RawExchange(w); err == nil || !strings.Contains(err.Error(), "version 3") || w.written.Len() > 0 {
		t.Errorf("%v", err)
	}
}

func TestAFailedWriteIsAnError(t *testing.T) {
	r, w := io.Pipe()
	_ = r.CloseWithError(errors.New("gone"))
	conn := struct {
		io.Reader
		io.Writer
	}{r, w}
	if _, err := exchangeFor(FetchRequest{}, 11).RawExchange(conn); err == nil || !strings.Contains(err.Error(), "write request: gone") {
		t.Errorf("%v", err)
	}
}

func TestRequestsGoToTheLeader(t *testing.T) {
	cluster := func(leader int32) protocol.Cluster {
		return protocol.Cluster{
			Brokers: map[int32]protocol.Broker{1: {ID: 1}, 2: {ID: 2}},
			Topics:  map[string]protocol.Topic{"t": {Partitions: map[int32]protocol.Partition{0: {Leader: leader}}}},
		}
	}
	for name, c := range map[string]struct {
		topic     string
		partition int
		cluster   protocol.Cluster
		want      int32
		err       error
	}{
		"leader":      {"t", 0, cluster(2), 2, nil},
		"no leader":   {"t", 0, cluster(-1), 0, kafka.LeaderNotAvailable},
		"no topic":    {"u", 0, cluster(2), 0, kafka.UnknownTopicOrPartition},
		"no part":     {"t", 1, cluster(2), 0, kafka.UnknownTopicOrPartition},
		"no metadata": {"t", 0, protocol.Cluster{}, -1, nil}, // a bootstrap broker: its failure is the reason, not the topic
	} {
		broker, err := newExchange(FetchRequest{Topic: c.topic, Partition: c.partition}, "").Broker(c.cluster)
		if !errors.Is(err, c.err) || err == nil && broker.ID != c.want {
			t.Errorf("%s: broker %d, %v", name, broker.ID, err)
		}
	}
}
