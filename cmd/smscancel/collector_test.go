package main

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector is a receiver of OTLP over HTTP that keeps all spans.
type collector struct {
	*httptest.Server
	t *testing.T

	mu    sync.Mutex
	raw   []byte // of all exports
	spans []span
}

// span is one that came, in a form that is easily compared.
type span struct {
	*tracepb.Span
	id, parent, trace string
	attributes        map[string]any
	resource          map[string]any
}

func newCollector(t *testing.T) *collector {
	c := &collector{t: t}
	c.Server = httptest.NewServer(http.HandlerFunc(c.serve))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var export collectorpb.ExportTraceServiceRequest
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &export) != nil {
		c.t.Errorf("not an export of traces: %s, %v", r.URL, err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw = append(c.raw, body...)
	for _, resource := range export.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			for _, s := range scope.Spans {
				c.spans = append(c.spans, span{s, hex.EncodeToString(s.SpanId), hex.EncodeToString(s.ParentSpanId), hex.EncodeToString(s.TraceId),
					attributesOf(s.Attributes), attributesOf(resource.Resource.Attributes)})
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func attributesOf(attributes []*commonpb.KeyValue) map[string]any {
	values := map[string]any{}
	for _, a := range attributes {
		switch v := a.Value.Value.(type) {
		case *commonpb.AnyValue_StringValue:
			values[a.Key] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			values[a.Key] = int(v.IntValue)
		case *commonpb.AnyValue_BoolValue:
			values[a.Key] = v.BoolValue
		}
	}
	return values
}

// below are the spans that came, of one parent and in the order of their starts.
func (c *collector) below(parent string) []span {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []span
	for _, s := range c.spans {
		if s.parent != parent {
			continue
		}
		at := len(found)
		for at > 0 && found[at-1].StartTimeUnixNano > s.StartTimeUnixNano {
			at--
		}
		found = append(found[:at], append([]span{s}, found[at:]...)...)
	}
	return found
}

// only is the one span below a parent.
func (c *collector) only(parent string) span {
	c.t.Helper()
	found := c.below(parent)
	require.Len(c.t, found, 1, "spans below %s", parent)
	return found[0]
}

// all is how many spans came, and everything that was sent.
func (c *collector) all() (int, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.spans), string(c.raw)
}
