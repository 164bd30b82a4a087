package records

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
)

const (
	// maxResponse bounds a response beyond what was asked for. A broker may
	// exceed the request by one batch, and those are far smaller.
	maxResponse = 64 << 20

	// minVersion is the first Fetch version with record batches of format 2
	// and aborted transactions: Kafka 0.11.
	minVersion = 4

	noLeaderEpoch = -1 // any leader may answer
	noReplica     = -1 // this is a consumer
	noSession     = -1 // every fetch stands alone

	// stepBytes is the least that a broker sends of its answer in one step of an
	// exchange, see watch.
	stepBytes = 16 << 10

	// A connection serves one exchange at a time, so the id only has to be
	// unlike what other kinds of response begin with.
	correlationID = 0x736d7363
)

// exchange is one Fetch request and its response. It writes and reads the
// connection itself because the library's own decoder copies every record and
// hides control batches.
type exchange struct {
	fetch.Request
	clientID string
	version  int16
	limit    int64   // of the response, in bytes
	memory   *Memory // for the response; nil = of its own
	watch    *watch  // nil = nobody watches
}

func newExchange(req FetchRequest, clientID string) *exchange {
	isolation := kafka.ReadUncommitted
	if req.ReadCommitted {
		isolation = kafka.ReadCommitted
	}
	return &exchange{
		clientID: clientID,
		limit:    int64(req.MaxBytes) + maxResponse,
		memory:   req.Memory,
		Request: fetch.Request{
			ReplicaID:      noReplica,
			MaxWaitTime:    int32(min(req.MaxWait.Milliseconds(), math.MaxInt32)),
			MinBytes:       int32(req.MinBytes),
			MaxBytes:       math.MaxInt32, // the partition's own limit is the one that counts, see below
			IsolationLevel: int8(isolation),
			SessionEpoch:   noSession,
			Topics: []fetch.RequestTopic{{
				Topic: req.Topic,
				Partitions: []fetch.RequestPartition{{
					Partition:          int32(req.Partition),
					CurrentLeaderEpoch: noLeaderEpoch,
					FetchOffset:        req.Offset,
					LogStartOffset:     -1,
					// The limit stands here alone: kfake leaves the aborted
					// transactions out of a response that it cuts at the
					// request's limit, and their records would count.
					PartitionMaxBytes: int32(req.MaxBytes),
				}},
			}},
		},
	}
}

// Broker routes the request to the partition's leader. Before any metadata has
// arrived it goes to a bootstrap broker: that one's answer, or the reason why
// it cannot be reached, says more than "unknown topic" would.
func (x *exchange) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	if len(cluster.Brokers) == 0 {
		return protocol.Broker{ID: -1}, nil
	}
	broker, err := x.Request.Broker(cluster)
	switch {
	case errors.Is(err, protocol.ErrNoTopic), errors.Is(err, protocol.ErrNoPartition):
		err = fmt.Errorf("%w: %w", kafka.UnknownTopicOrPartition, err)
	case errors.Is(err, protocol.ErrNoLeader):
		err = fmt.Errorf("%w: %w", kafka.LeaderNotAvailable, err)
	}
	return broker, err
}

// Required takes note of the version that both sides speak. It makes every
// Fetch of this type a raw exchange.
func (x *exchange) Required(versions map[protocol.ApiKey]int16) bool {
	x.version = versions[protocol.Fetch]
	return true
}

// RawExchange writes the request and reads its response. After an error the
// transport closes the connection, for nobody knows what it would yield next.
func (x *exchange) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	if x.version < minVersion {
		return nil, fmt.Errorf("broker speaks Fetch up to version %d, %d is needed", x.version, minVersion)
	}
	if err := x.watch.step(rw); err != nil {
		return nil, err
	}
	defer x.watch.done(rw)
	if err := protocol.WriteRequest(rw, x.version, correlationID, x.clientID, &x.Request); err != nil {
		return nil, fmt.Errorf("write request: %w", err)
	}
	body, err := readResponse(rw, x.limit, x.memory, func() error { return x.watch.step(rw) })
	if err != nil {
		return nil, fmt.Errorf("read response: %w", err)
	}
	res, err := parseResponse(body, x.version)
	if err != nil {
		return nil, err
	}
	res.part.body = body
	return res, nil
}

// readResponse reads a whole response and returns what follows its header. step
// is called before each step; its error ends the reading.
func readResponse(r io.Reader, limit int64, memory *Memory, step func() error) ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := int64(int32(binary.BigEndian.Uint32(head[:4])))
	if size < 4 || size > limit {
		return nil, fmt.Errorf("response of %d bytes, at most %d are accepted", size, limit)
	}
	if id := binary.BigEndian.Uint32(head[4:]); id != correlationID {
		return nil, fmt.Errorf("correlation id %d, sent %d", id, uint32(correlationID))
	}
	body := memory.take(int(size - 4))
	for rest := body; len(rest) > 0; {
		if err := step(); err != nil {
			return nil, err
		}
		n, err := io.ReadAtLeast(r, rest, min(len(rest), stepBytes))
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		rest = rest[n:]
	}
	return body, nil
}
