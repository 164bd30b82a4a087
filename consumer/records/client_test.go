package records

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// transport is a RoundTripper made of a function.
type transport func(context.Context, kafka.Request) (kafka.Response, error)

func (f transport) RoundTrip(ctx context.Context, _ net.Addr, req kafka.Request) (kafka.Response, error) {
	return f(ctx, req)
}

// hung never answers.
var hung = transport(func(ctx context.Context, _ kafka.Request) (kafka.Response, error) {
	<-ctx.Done()
	return nil, ctx.Err()
})

func TestABrokerThatHangsDoesNotHangItsReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Client{Transport: hung}
		start := time.Now()
		_, err := c.Fetch(t.Context(), FetchRequest{Topic: "t", MaxWait: time.Second})
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != 11*time.Second {
			t.Errorf("fetch: %v after %s, want 11 s", err, took)
		}
		start = time.Now()
		_, err = c.Latest(t.Context(), "t", 0)
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != 10*time.Second {
			t.Errorf("latest: %v after %s, want 10 s", err, took)
		}
	})
}

func TestTheCallersDeadlineIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		_, err := (&Client{Transport: hung}).Fetch(ctx, FetchRequest{})
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != time.Minute {
			t.Errorf("%v after %s, want a minute", err, took)
		}
	})
}

func TestCancellingEndsAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := (&Client{Transport: hung}).Fetch(ctx, FetchRequest{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

func TestErrorsNameThePartitionAndTheOffset(t *testing.T) {
	c := &Client{Transport: transport(func(context.Context, kafka.Request) (kafka.Response, error) { return nil, kafka.NotLeaderForPartition })}
	_, err := c.Fetch(t.Context(), FetchRequest{Topic: "t", Partition: 3, Offset: 9})
	if !errors.Is(err, kafka.NotLeaderForPartition) || !strings.HasPrefix(err.Error(), "fetch t/3 at offset 9: ") {
		t.Errorf("%v", err)
	}
	_, err = c.Earliest(t.Context(), "t", 3)
	if !errors.Is(err, kafka.NotLeaderForPartition) || !strings.HasPrefix(err.Error(), "list offsets of t/3: ") {
		t.Errorf("%v", err)
	}
}

func TestForeignAnswersAreErrors(t *testing.T) {
	c := &Client{Transport: transport(func(context.Context, kafka.Request) (kafka.Response, error) { return &metadata.Response{}, nil })}
	if _, err := c.Fetch(t.Context(), FetchRequest{}); err == nil {
		t.Error("fetch: no error")
	}
	if _, err := c.Latest(t.Context(), "t", 0); err == nil {
		t.Error("latest: no error")
	}
}

// offsets answers a ListOffsets request, and keeps it.
func offsets(seen *listoffsets.Request, res listoffsets.ResponsePartition) *Client {
	return &Client{Transport: transport(func(_ context.Context, req kafka.Request) (kafka.Response, error) {
		*seen = *req.(*listoffsets.Request)
		return &listoffsets.Response{Topics: []listoffsets.ResponseTopic{{Topic: "t", Partitions: []listoffsets.ResponsePartition{res}}}}, nil
	})}
}

func TestATimeBefore1970IsNoCommandOfTheProtocol(t *testing.T) {
	for _, ms := range []int64{-1, -2, -1000} { // -1 and -2 would mean the end and the start
		var seen listoffsets.Request
		at, found, err := offsets(&seen, listoffsets.ResponsePartition{Offset: 5}).ByTime(t.Context(), "t", 0, time.UnixMilli(ms))
		if asked := seen.Topics[0].Partitions[0].Timestamp; asked != 0 || at != 5 || !found || err != nil {
			t.Errorf("%d ms: asked for %d, got %d, %v, %v", ms, asked, at, found, err)
		}
	}
}

func TestErrorsOfListOffsetsAreRecognized(t *testing.T) {
	var seen listoffsets.Request
	c := offsets(&seen, listoffsets.ResponsePartition{Offset: -1, ErrorCode: int16(kafka.LeaderNotAvailable)})
	if _, err := c.Latest(t.Context(), "t", 0); !errors.Is(err, kafka.LeaderNotAvailable) {
		t.Errorf("%v", err)
	}
	if _, err := offsets(&seen, listoffsets.ResponsePartition{Partition: 4}).Latest(t.Context(), "t", 0); err == nil {
		t.Error("the answer for another partition was taken")
	}
}
