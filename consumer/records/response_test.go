package records

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/segmentio/kafka-go"
)

func TestEveryVersionOfTheResponseIsRead(t *testing.T) {
	for version := int16(minVersion); version <= 11; version++ {
		body := responseOf(version, "topic", 3, partitionResponse{
			highWatermark: 30, lastStableOffset: 20, logStartOffset: 10,
			aborted: []abortedTransaction{{producerID: 1, firstOffset: 2}}, batches: log(t, plain(12, 2)),
		})
		res, err := parseResponse(body, version)
		if err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		p, err := res.page(FetchRequest{Topic: "topic", Partition: 3, Offset: 12})
		if err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		start := int64(10)
		if version < 5 {
			start = -1
		}
		if p.HighWatermark != 30 || p.LastStableOffset != 20 || p.LogStartOffset != start || p.NextOffset != 14 || len(p.aborted) != 1 {
			t.Errorf("version %d: page %+v", version, p)
		}
	}
}

func TestNoPrefixOfAResponseIsTakenForOne(t *testing.T) {
	for version := int16(minVersion); version <= 11; version++ {
		body := responseOf(version, "topic", 3, partitionResponse{aborted: make([]abortedTransaction, 2), batches: log(t, plain(0, 1))})
		for end := range len(body) {
			if _, err := parseResponse(body[:end], version); err == nil {
				t.Errorf("version %d: no error at %d of %d bytes", version, end, len(body))
			}
		}
		if _, err := parseResponse(append(bytes.Clone(body), 0), version); err == nil {
			t.Errorf("version %d: no error with a byte too many", version)
		}
	}
}

func TestNoChangedByteOfAResponseBreaksTheReader(t *testing.T) {
	body := responseOf(11, "topic", 3, partitionResponse{aborted: make([]abortedTransaction, 2), batches: log(t, plain(0, 1))})
	for i := range body {
		for change := range 256 {
			changed := bytes.Clone(body)
			changed[i] = byte(change)
			checkResponse(t, changed, 11)
		}
	}
}

// checkResponse reads a response and, if it is one, its page.
func checkResponse(t *testing.T, body []byte, version int16) {
	t.Helper()
	res, err := parseResponse(body, version)
	if err != nil {
		return
	}
	req := FetchRequest{Topic: res.topic, Partition: int(res.partition), Offset: 1, ReadCommitted: true}
	if page, _ := res.page(req); page != nil {
		checkPage(t, page)
	}
}

func TestErrorsOfTheBrokerAreRecognized(t *testing.T) {
	req := FetchRequest{Topic: "t", Partition: 1, Offset: 99}
	code := int16(kafka.OffsetOutOfRange)
	for name, c := range map[string]struct {
		res      response
		want     error
		withPage bool
	}{
		"request":                {response{errorCode: int16(kafka.BrokerNotAvailable)}, kafka.BrokerNotAvailable, false},
		"partition":              {response{topic: "t", partition: 1, found: true, part: partitionResponse{errorCode: code, highWatermark: -1}}, kafka.OffsetOutOfRange, false},
		"partition with offsets": {response{topic: "t", partition: 1, found: true, part: partitionResponse{errorCode: code, highWatermark: 7, logStartOffset: 3}}, kafka.OffsetOutOfRange, true},
	} {
		page, err := c.res.page(req)
		if !errors.Is(err, c.want) || (page != nil) != c.withPage {
			t.Errorf("%s: page %v, error %v; want %v", name, page, err, c.want)
		}
		if page != nil && (page.HighWatermark != 7 || page.LogStartOffset != 3 || page.NextOffset != 99) {
			t.Errorf("%s: page %+v", name, page)
		}
	}
}

func TestAnAnswerAboutAnotherPartitionIsAnError(t *testing.T) {
	req := FetchRequest{Topic: "t", Partition: 1}
	for _, res := range []response{
		{}, {topic: "t", partition: 2, found: true}, {topic: "u", partition: 1, found: true}, {topic: "t", partition: 1},
	} {
		if page, err := res.page(req); err == nil || page != nil {
			t.Errorf("%+v: %v, %v", res, page, err)
		}
	}
}

func TestHostileCountsOfAResponseAreRefused(t *testing.T) {
	for _, n := range []uint32{2, math.MaxInt32} {
		for _, at := range []int{4, 15} { // topics, partitions
			body := responseOf(4, "topic", 3, partitionResponse{})
			body[at], body[at+1], body[at+2], body[at+3] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
			if _, err := parseResponse(body, 4); err == nil {
				t.Errorf("no error for %d at byte %d", n, at)
			}
		}
	}
}
