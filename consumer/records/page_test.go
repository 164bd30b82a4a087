package records

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
)

func TestRecordsCarryWhatStandsInTheLog(t *testing.T) {
	b := batchOf{base: 100, baseTime: 5000, maxTime: 9000, producerID: 42, epoch: 3, items: []item{
		{delta: 0, time: -1, key: []byte("k"), value: []byte("v"), headers: []kafka.Header{{Key: "h", Value: []byte("1")}, {Key: "h", Value: []byte("2")}, {Key: "n"}}},
		{delta: 2, time: 4000, key: []byte{}, value: []byte{}},
		{delta: 300, time: 2},
	}}
	p := pageOf(log(t, b), 100)
	var got []Record
	for rec, err := range p.Records() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, rec)
	}
	if len(got) != 3 || got[0].Offset != 100 || got[1].Offset != 102 || got[2].Offset != 400 {
		t.Fatalf("records %+v, want offsets 100, 102, 400", got)
	}
	if got[0].Timestamp != 4999 || got[1].Timestamp != 9000 || got[2].Timestamp != 5002 {
		t.Errorf("timestamps %d %d %d", got[0].Timestamp, got[1].Timestamp, got[2].Timestamp)
	}
	if string(got[0].Key) != "k" || string(got[0].Value) != "v" {
		t.Errorf("key %q, value %q", got[0].Key, got[0].Value)
	}
	if got[1].Key == nil || got[1].Value == nil || len(got[1].Key)+len(got[1].Value) != 0 {
		t.Errorf("empty key and value became %v and %v", got[1].Key, got[1].Value)
	}
	if got[2].Key != nil || got[2].Value != nil {
		t.Errorf("null key and value became %v and %v", got[2].Key, got[2].Value)
	}
	if v, ok := got[0].Headers.Get("h"); !ok || string(v) != "1" {
		t.Errorf("header h = %q %v, want the first", v, ok)
	}
	if v, ok := got[0].Headers.Get("n"); !ok || v != nil {
		t.Errorf("null header = %v %v", v, ok)
	}
	if _, ok := got[0].Headers.Get("x"); ok || got[0].Headers.Len() != 3 || got[1].Headers.Len() != 0 {
		t.Errorf("headers %d and %d", got[0].Headers.Len(), got[1].Headers.Len())
	}
	if p.NextOffset != 401 {
		t.Errorf("next offset %d, want 401", p.NextOffset)
	}
}

func TestARecordsSlicesCannotGrowIntoItsNeighbours(t *testing.T) {
	raw := log(t, plain(0, 2))
	before := bytes.Clone(raw)
	for rec, err := range pageOf(raw, 0).Records() {
		if err != nil {
			t.Fatal(err)
		}
		_, _ = append(rec.Key, "XX"...), append(rec.Value, "XX"...)
	}
	if !bytes.Equal(raw, before) {
		t.Error("appending to a key or value changed the page")
	}
}

func TestLogAppendTimeReplacesTheRecordsOwn(t *testing.T) {
	b := plain(0, 3)
	b.attributes |= logAppendTimeBit
	b.maxTime = 77
	for rec, err := range pageOf(log(t, b), 0).Records() {
		if err != nil || rec.Timestamp != 77 {
			t.Errorf("timestamp %d, error %v; want 77", rec.Timestamp, err)
		}
	}
}

func TestRecordsBelowTheOffsetAskedForAreLeftOut(t *testing.T) {
	raw := log(t, plain(0, 10), plain(10, 10))
	for from := range int64(20) {
		got, err := read(pageOf(raw, from))
		if err != nil || !slices.Equal(got, span(from, 19)) {
			t.Errorf("from %d: %v, %v", from, got, err)
		}
	}
}

func TestBatchesBelowTheOffsetAskedForAreLeftOut(t *testing.T) {
	p := pageOf(log(t, plain(0, 1).in(1), markerOf(1, 1, MarkerCommit), plain(2, 3), markerOf(5, 1, MarkerCommit)), 3)
	var bases []int64
	for b, err := range p.Batches() {
		if err != nil {
			t.Fatal(err)
		}
		bases = append(bases, b.BaseOffset)
	}
	if !slices.Equal(bases, []int64{2, 5}) {
		t.Errorf("batches at %v, want those that reach offset 3", bases)
	}
}

func TestBatchesShowTheirHeader(t *testing.T) {
	data := plain(10, 2).in(9)
	data.epoch = 4
	raw := log(t, data, markerOf(12, 9, MarkerCommit), markerOf(13, 8, MarkerAbort))
	var got []Batch
	for b, err := range pageOf(raw, 0).Batches() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, b)
	}
	if len(got) != 3 {
		t.Fatalf("%d batches, want 3", len(got))
	}
	b := got[0]
	if b.BaseOffset != 10 || b.LastOffset != 11 || b.ProducerID != 9 || b.ProducerEpoch != 4 || b.LeaderEpoch != 7 ||
		!b.Transactional || b.Control || b.LogAppendTime || b.Compression != 0 || b.MaxTimestamp != 1002 {
		t.Errorf("data batch %+v", b)
	}
	if _, err := b.Marker(); err == nil {
		t.Error("a data batch has a marker")
	}
	for i, want := range []Marker{{Offset: 12, Type: MarkerCommit}, {Offset: 13, Type: MarkerAbort}} {
		b := got[i+1]
		if m, err := b.Marker(); !b.Control || err != nil || m != want {
			t.Errorf("marker %+v, %v; want %+v", m, err, want)
		}
		for range b.Records() {
			t.Error("a control batch has records")
		}
	}
}

func TestAMarkerIsNoRecordAndNeverStallsTheReader(t *testing.T) {
	p := pageOf(log(t, plain(0, 1), markerOf(1, 5, MarkerCommit), markerOf(2, 6, MarkerAbort)), 0)
	got, err := read(p)
	if err != nil || !slices.Equal(got, []int64{0}) {
		t.Errorf("records %v, %v", got, err)
	}
	if p.NextOffset != 3 {
		t.Errorf("next offset %d, want 3", p.NextOffset)
	}
}

func TestAPageWithoutRecordsStillLeadsOn(t *testing.T) {
	for name, c := range map[string]struct {
		raw  []byte
		from int64
		want int64
	}{
		"nothing":           {nil, 7, 7},
		"marker only":       {log(t, markerOf(7, 1, MarkerCommit)), 7, 8},
		"compacted":         {log(t, batchOf{base: 5, lastDelta: 9}), 7, 15},
		"compacted at end":  {log(t, batchOf{base: 7, lastDelta: 3, items: []item{{delta: 0}}}), 7, 11},
		"marker, in middle": {log(t, plain(0, 1), markerOf(1, 1, MarkerCommit)), 1, 2},
	} {
		p := pageOf(c.raw, c.from)
		if _, err := read(p); err != nil || p.NextOffset != c.want || p.stalled() != nil {
			t.Errorf("%s: next offset %d, want %d; %v, %v", name, p.NextOffset, c.want, err, p.stalled())
		}
	}
}

func TestAPageThatLeadsNowhereIsAnError(t *testing.T) {
	if err := pageOf(log(t, plain(0, 3)), 3).stalled(); err == nil {
		t.Error("a page with nothing but lower offsets would be fetched for ever")
	}
}

func TestIterationMayStopAnywhereAndBeRepeated(t *testing.T) {
	p := pageOf(log(t, plain(0, 5), plain(5, 5)), 0)
	for stop := range int64(10) {
		var got []int64
		for rec := range p.Records() {
			got = append(got, rec.Offset)
			if rec.Offset == stop {
				break
			}
		}
		if !slices.Equal(got, span(0, stop)) {
			t.Errorf("stopped at %d: %v", stop, got)
		}
	}
	for range p.Batches() {
		break
	}
}

func TestAPartialBatchAtTheEndIsLeftForTheNextFetch(t *testing.T) {
	whole := log(t, plain(0, 3))
	raw := append(bytes.Clone(whole), log(t, plain(3, 3))...)
	for end := len(whole); end < len(raw); end++ {
		p := pageOf(raw[:end], 0)
		got, err := read(p)
		if err != nil || !slices.Equal(got, span(0, 2)) || p.NextOffset != 3 {
			t.Fatalf("cut at %d: %v, %v, next %d", end, got, err, p.NextOffset)
		}
	}
}

func TestAPageWithoutAWholeBatchIsAnError(t *testing.T) {
	raw := log(t, plain(0, 3))
	for end := 1; end < len(raw); end++ {
		p := pageOf(raw[:end], 0)
		if got, err := read(p); err == nil || len(got) > 0 || p.NextOffset != 0 {
			t.Fatalf("cut at %d: %v, %v, next %d", end, got, err, p.NextOffset)
		}
	}
}

// damaged is a change to the second of three batches, and what the error says.
var damaged = map[string]struct {
	change func(b []byte)
	says   string
}{
	"a flipped bit in a value":  {func(b []byte) { b[len(b)-12] ^= 1 }, "offset 3 is corrupt"},
	"a flipped bit in header":   {func(b []byte) { b[atProducerID] ^= 1 }, "offset 3 is corrupt"},
	"format 1":                  {func(b []byte) { b[atMagic] = 1 }, "offset 3 has format 1"},
	"format 3":                  {func(b []byte) { b[atMagic] = 3 }, "offset 3 has format 3"},
	"a length below the header": {func(b []byte) { binary.BigEndian.PutUint32(b[atLength:], 48) }, "offset 3 has 60 bytes"},
	"a negative length":         {func(b []byte) { binary.BigEndian.PutUint32(b[atLength:], 1<<31) }, "offset 3 has"},
	"an offset that goes back":  {func(b []byte) { binary.BigEndian.PutUint64(b, 2) }, "offset 2 follows offset 2"},
	"a negative offset":         {func(b []byte) { binary.BigEndian.PutUint64(b, math.MaxUint64) }, "offset -1"},
	"an offset that overflows":  {func(b []byte) { binary.BigEndian.PutUint64(b, math.MaxInt64) }, "last offset delta of 2"},
	"a negative last offset":    {func(b []byte) { binary.BigEndian.PutUint32(b[atLastDelta:], math.MaxUint32); seal(b) }, "last offset delta of -1"},
	"a lower last offset":       {func(b []byte) { binary.BigEndian.PutUint32(b[atLastDelta:], 1); seal(b) }, "offset 3, after offset 4"},
	"more records than stand":   {func(b []byte) { binary.BigEndian.PutUint32(b[atCount:], 4); seal(b) }, "offset 3, after offset 5"},
	"fewer records than stand":  {func(b []byte) { binary.BigEndian.PutUint32(b[atCount:], 2); seal(b) }, "behind its 2 records"},
	"a negative count":          {func(b []byte) { binary.BigEndian.PutUint32(b[atCount:], math.MaxUint32); seal(b) }, "behind its -1 records"},
	"an unknown compression":    {func(b []byte) { b[atAttributes+1] |= 5; seal(b) }, "unknown compression 5"},
	"compressed garbage":        {func(b []byte) { b[atAttributes+1] |= 4; seal(b) }, "decompress zstd"},
	"a record too long":         {func(b []byte) { b[headerSize]++; seal(b) }, "malformed record"},
	"a record longer than all":  {func(b []byte) { b[headerSize] = 0x7e; seal(b) }, "malformed record"},
	"a negative record length":  {func(b []byte) { b[headerSize] = 1; seal(b) }, "malformed record"},
	"a varint without an end": {func(b []byte) {
		copy(b[headerSize:], bytes.Repeat([]byte{0xff}, 11))
		seal(b)
	}, "malformed record"},
}

func TestDamageEndsThePageAfterTheRecordsBeforeIt(t *testing.T) {
	for name, c := range damaged {
		t.Run(name, func(t *testing.T) {
			first, second := log(t, plain(0, 3)), log(t, plain(3, 3))
			c.change(second)
			p := pageOf(slices.Concat(first, second, log(t, plain(6, 3))), 0)
			got, err := read(p)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one that says %q", err, c.says)
			}
			if len(got) < 3 || !slices.Equal(got, span(0, int64(len(got)-1))) || got[len(got)-1] > 5 {
				t.Errorf("records %v, want those before the damage", got)
			}
		})
	}
}

func TestDamageInsideABatchEndsItAfterTheRecordsBeforeIt(t *testing.T) {
	items := plain(0, 4).items
	content := encodeItems(items[:2])
	b := plain(0, 4)
	b.content = append(content, 0x7e, 0, 0)
	got, err := read(pageOf(log(t, b), 0))
	if err == nil || !slices.Equal(got, span(0, 1)) {
		t.Errorf("%v, %v; want records 0 and 1 and an error", got, err)
	}
}

func TestHostileRecordsAreMalformed(t *testing.T) {
	huge := binary.AppendVarint(nil, math.MaxInt64)
	least := binary.AppendVarint(nil, math.MinInt64)
	for name, body := range map[string][]byte{
		"empty":                       {},
		"attributes only":             {0},
		"huge key":                    slices.Concat([]byte{0, 0, 0}, huge, []byte{1, 0}),
		"negative key":                slices.Concat([]byte{0, 0, 0}, least, []byte{1, 0}),
		"key of length -2":            {0, 0, 0, 3, 1, 0},
		"huge value":                  slices.Concat([]byte{0, 0, 0, 1}, huge, []byte{0}),
		"huge header count":           slices.Concat([]byte{0, 0, 0, 1, 1}, huge),
		"negative header count":       {0, 0, 0, 1, 1, 1},
		"header count beyond content": {0, 0, 0, 1, 1, 4, 0, 0},
		"null header name":            {0, 0, 0, 1, 1, 2, 1, 1},
		"huge header value":           slices.Concat([]byte{0, 0, 0, 1, 1, 2, 0}, huge),
		"bytes behind the headers":    {0, 0, 0, 1, 1, 0, 0},
		"huge offset":                 slices.Concat([]byte{0, 0}, huge, []byte{1, 1, 0}),
		"negative offset":             {0, 0, 1, 1, 1, 0},
		"varint of eleven bytes":      slices.Concat([]byte{0}, bytes.Repeat([]byte{0x80}, 10), []byte{0, 0, 1, 1, 0}),
		"varint of 65 bits":           slices.Concat([]byte{0}, bytes.Repeat([]byte{0x80}, 9), []byte{2, 0, 1, 1, 0}),
	} {
		b := batchOf{base: 10, count: 1, content: slices.Concat(binary.AppendVarint(nil, int64(len(body))), body)}
		if got, err := read(pageOf(log(t, b), 0)); err == nil || len(got) > 0 {
			t.Errorf("%s: %v, %v; want an error", name, got, err)
		}
	}
}

func TestHostileCountsCostNothing(t *testing.T) {
	b := batchOf{base: 0, count: math.MaxInt32, lastDelta: math.MaxInt32 - 1, content: encodeItems(plain(0, 1).items)}
	if got, err := read(pageOf(log(t, b), 0)); err == nil || len(got) != 1 {
		t.Errorf("%v, %v; want the one record and an error", got, err)
	}
}

func TestADamagedMarkerIsAnError(t *testing.T) {
	for name, items := range map[string][]item{
		"short key": {{key: []byte{0, 0, 1}}},
		"no key":    {{value: []byte("x")}},
		"no record": nil,
	} {
		raw := log(t, batchOf{base: 4, attributes: controlBit, items: items})
		for b, err := range pageOf(raw, 0).Batches() {
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.Marker(); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
	}
}

// A page must survive whatever arrives: every prefix, and every single-byte
// change with its checksum put right.
func TestNoPrefixAndNoChangedByteBreaksTheReader(t *testing.T) {
	raw := log(t, plain(0, 2), plain(2, 2).in(5), markerOf(4, 5, MarkerAbort))
	for c := range kafka.Compression(5) {
		b := plain(5+int64(c)*2, 2)
		b.codec = c
		raw = append(raw, b.encode(t)...)
	}
	r := FetchRequest{ReadCommitted: true}
	aborted := []abortedTransaction{{producerID: 5, firstOffset: 2}}
	for end := range len(raw) + 1 {
		checkPage(t, newPage(&partitionResponse{batches: raw[:end], aborted: aborted}, r))
	}
	for i := range raw {
		for _, change := range []byte{0x01, 0x80, 0xff} {
			changed := bytes.Clone(raw)
			changed[i] ^= change
			sealAll(changed)
			checkPage(t, newPage(&partitionResponse{batches: changed, aborted: aborted}, r))
		}
	}
}

// checkPage iterates a page and checks what holds for every page.
func checkPage(t *testing.T, p *Page) {
	t.Helper()
	last, records := p.from-1, 0
	for rec, err := range p.Records() {
		if err != nil {
			break
		}
		records++
		if rec.Offset <= last || rec.Offset >= p.NextOffset {
			t.Fatalf("offset %d after %d, next offset %d", rec.Offset, last, p.NextOffset)
		}
		last = rec.Offset
		headers := 0
		for range rec.Headers.All() {
			headers++
		}
		if headers != rec.Headers.Len() {
			t.Fatalf("%d headers, said to be %d", headers, rec.Headers.Len())
		}
	}
	again := 0
	for b, err := range p.Batches() {
		if err != nil {
			break
		}
		if _, err := b.Marker(); err == nil && !b.Control {
			t.Fatal("a data batch has a marker")
		}
		for _, err := range b.Records() {
			if err == nil {
				again++
			}
		}
	}
	if again < records {
		t.Fatalf("%d records by batch, %d by page", again, records)
	}
}
