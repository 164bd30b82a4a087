package records

import (
	"bytes"
	"math"
	"runtime/metrics"
	"testing"

	"github.com/segmentio/kafka-go"
)

// FuzzPage reads whatever body a broker might send, as if its checksums were
// right: they would keep the fuzzer out of the batches. What is yielded lies
// between the offset asked for and the next one, in order; leaving out aborted
// transactions takes records away and adds none; memory keeps its bounds.
func FuzzPage(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte, version byte) {
		if len(body) > 1<<16 {
			return
		}
		v := minVersion + int16(version%8)
		body = bytes.Clone(body)
		res, err := parseResponse(body, v)
		if err != nil {
			return
		}
		sealAll(res.part.batches) // shares the body's memory
		checkResponse(t, body, v)
		checkIsolation(t, res)
	})
}

// checkIsolation compares the records of a page with and without those of
// transactions that were aborted. What is damaged within one of these ends only a
// page that shows it.
func checkIsolation(t *testing.T, res *response) {
	t.Helper()
	all, err := read(newPage(&res.part, FetchRequest{Offset: math.MinInt64}))
	if err != nil && len(res.part.aborted) > 0 {
		return
	}
	committed, _ := read(newPage(&res.part, FetchRequest{Offset: math.MinInt64, ReadCommitted: true}))
	seen := map[int64]bool{}
	for _, offset := range all {
		seen[offset] = true
	}
	for _, offset := range committed {
		if !seen[offset] {
			t.Fatalf("record %d is committed, and not among %v", offset, all)
		}
	}
	if len(res.part.aborted) == 0 && len(committed) != len(all) {
		t.Fatalf("nothing was aborted, and of %v there are %v", all, committed)
	}
}

// FuzzBatch encodes a batch by hand and reads it. What was written is read,
// field for field, with every codec; markers and damage yield no record.
func FuzzBatch(f *testing.F) {
	f.Fuzz(func(t *testing.T, base, time, maxTime int64, attributes uint16, step uint8, count uint8, key, value, name, headerValue []byte, nils uint8) {
		base = max(base, 0) % math.MaxInt32
		codec := codecs[attributes&compressionMask%uint16(len(codecs))]
		b := batchOf{base: base, baseTime: time, maxTime: maxTime, codec: codec, producerID: time, attributes: attributes &^ compressionMask}
		for i, bit := range []*[]byte{&key, &value, &headerValue} {
			if nils>>i&1 == 1 {
				*bit = nil
			} else if *bit == nil {
				*bit = []byte{}
			}
		}
		for i := range int64(count%16 + 1) {
			b.items = append(b.items, item{delta: i * int64(step%100+1), time: i - 8, key: key, value: value,
				headers: []kafka.Header{{Key: string(name), Value: headerValue}, {Key: ""}}})
		}
		raw := b.encode(t)
		got, control := 0, attributes&controlBit != 0
		for rec, err := range pageOf(raw, base).Records() {
			if err != nil {
				t.Fatal(err)
			}
			it := b.items[got]
			at := time + it.time
			if attributes&logAppendTimeBit != 0 {
				at = maxTime
			}
			if rec.Offset != base+it.delta || rec.Timestamp != at || !same(rec.Key, key) || !same(rec.Value, value) {
				t.Fatalf("item %d %+v became %+v", got, it, rec)
			}
			if v, ok := rec.Headers.Get(string(name)); !ok || !same(v, headerValue) && len(name) > 0 || rec.Headers.Len() != 2 {
				t.Fatalf("header %q %q became %q", name, headerValue, v)
			}
			got++
		}
		if control && got != 0 || !control && got != len(b.items) {
			t.Fatalf("%d records of %d, control %t", got, len(b.items), control)
		}
		broken := bytes.Clone(raw)
		broken[headerSize+int(nils)%(len(raw)-headerSize)] ^= 1 // and the checksum as it was
		if got, err := read(pageOf(broken, base)); err == nil || len(got) > 0 {
			t.Fatalf("a flipped bit went unnoticed: %v, %v", got, err)
		}
	})
}

// decoderMemory is what a codec may need whatever it is given: windows and
// blocks (zstd's window may have 8 MiB, lz4's blocks 4 MiB). zstd also makes room
// at once for what a frame says that it holds, up to the limit of a batch.
func decoderMemory(c kafka.Compression) uint64 {
	if c == kafka.Zstd {
		return 48<<20 + maxContent
	}
	return 48 << 20
}

// FuzzDecompress gives any bytes to every codec. They are refused, or decode to
// the same twice; memory is bounded by what came out, not by what they claim, but for zstd;
// and what was compressed comes back whole.
func FuzzDecompress(f *testing.F) {
	f.Fuzz(func(t *testing.T, codec uint8, b []byte) {
		c := codecs[1:][int(codec)%(len(codecs)-1)]
		before := heapAllocated()
		out, err := decompress(c, b)
		if spent := heapAllocated() - before; spent > decoderMemory(c)+4*uint64(len(out)) {
			t.Fatalf("%s: %d bytes allocated for %d that decode to %d, %v", c, spent, len(b), len(out), err)
		}
		if err == nil {
			again, err := decompress(c, b)
			if err != nil || !bytes.Equal(again, out) || len(out) > maxContent {
				t.Fatalf("%s: %d bytes, then %d, %v", c, len(out), len(again), err)
			}
		}
		if len(b) == 0 {
			return // nobody compresses nothing
		}
		if back, err := decompress(c, compressed(t, c, b)); err != nil || !bytes.Equal(back, b) {
			t.Fatalf("%s: %d bytes came back as %d, %v", c, len(b), len(back), err)
		}
	})
}

// heapAllocated is all that was ever allocated. It stops nothing, as ReadMemStats does.
func heapAllocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
