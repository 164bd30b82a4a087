package records

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/segmentio/kafka-go"
	kafkasnappy "github.com/segmentio/kafka-go/compress/snappy"
)

var codecs = []kafka.Compression{0, kafka.Gzip, kafka.Snappy, kafka.Lz4, kafka.Zstd}

func TestEveryCodecIsRead(t *testing.T) {
	for _, c := range codecs {
		b := plain(0, 5000)
		b.codec = c
		got, err := read(pageOf(log(t, b), 10))
		if err != nil || !slices.Equal(got, span(10, 4999)) {
			t.Errorf("%s: %d records, %v", c, len(got), err)
		}
	}
}

func TestBothFormsOfSnappyAreRead(t *testing.T) {
	plain := bytes.Repeat([]byte("0123456789abcdef"), 10_000) // several xerial blocks
	for name, framing := range map[string]kafkasnappy.Framing{"xerial": kafkasnappy.Framed, "bare": kafkasnappy.Unframed} {
		var out bytes.Buffer
		w := (&kafkasnappy.Codec{Framing: framing}).NewWriter(&out)
		if _, err := w.Write(plain); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := decompress(kafka.Snappy, out.Bytes()); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(plain))
		}
	}
}

func TestTruncatedCompressionIsAnError(t *testing.T) {
	plain := bytes.Repeat([]byte("0123456789abcdef"), 100)
	for _, c := range codecs[1:] {
		whole := compressed(t, c, plain)
		for end := range len(whole) {
			got, err := decompress(c, whole[:end])
			// Every codec may end where a frame ends; what came is then whole.
			if err == nil && !bytes.HasPrefix(plain, got) {
				t.Errorf("%s cut at %d of %d: %d foreign bytes", c, end, len(whole), len(got))
			}
		}
	}
}

// A megabyte of zeros, repeated as often as it takes, makes a bomb where a
// codec allows frames in a row.
func TestDecompressionBombsAreRefused(t *testing.T) {
	zeros := make([]byte, 1<<20)
	rows := maxContent>>20 + 1
	bomb := bytes.Repeat(compressed(t, kafka.Zstd, zeros), rows)
	if got, err := decompress(kafka.Zstd, bomb); !errors.Is(err, errTooLarge) {
		t.Errorf("zstd: %d bytes from %d, %v", len(got), len(bomb), err)
	}
	block := snappy.Encode(nil, zeros)
	bomb = append([]byte(xerialMagic), 0, 0, 0, 1, 0, 0, 0, 1)
	for range rows {
		bomb = append(binary.BigEndian.AppendUint32(bomb, uint32(len(block))), block...)
	}
	if got, err := decompress(kafka.Snappy, bomb); !errors.Is(err, errTooLarge) {
		t.Errorf("snappy: %d bytes from %d, %v", len(got), len(bomb), err)
	}
	for _, c := range []kafka.Compression{kafka.Gzip, kafka.Lz4} {
		whole := compressed(t, c, zeros)
		if got, err := stream(c.Codec(), whole, len(zeros)-1); !errors.Is(err, errTooLarge) {
			t.Errorf("%s: %d bytes, %v", c, len(got), err)
		}
		if got, err := stream(c.Codec(), whole, len(zeros)); err != nil || !bytes.Equal(got, zeros) {
			t.Errorf("%s: %d bytes, %v; want all at the limit", c, len(got), err)
		}
	}
}

func TestABombIsNotUnpackedToItsEnd(t *testing.T) {
	bomb := bytes.Repeat(compressed(t, kafka.Gzip, make([]byte, 1<<20)), 64)
	n := allocated(func() {
		if _, err := stream(kafka.Gzip.Codec(), bomb, 1<<20); !errors.Is(err, errTooLarge) {
			t.Errorf("%v", err)
		}
	})
	if n > 16<<20 {
		t.Errorf("%d bytes allocated for a limit of 1 MiB", n)
	}
}

// allocated is how many bytes f allocates, and whatever runs beside it.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// What a few bytes claim to need must not be allocated.
func TestHostileSizesAreRefusedUnallocated(t *testing.T) {
	window := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x90, 0x01, 0, 0} // zstd, window of 2^28 bytes
	content := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0}, binary.LittleEndian.AppendUint64(nil, 1<<40)...)
	claim := binary.AppendUvarint(nil, 0xffffffff) // snappy block of 4 GiB
	xerial := append([]byte(xerialMagic), 0, 0, 0, 1, 0, 0, 0, 1)
	for name, c := range map[string]struct {
		codec kafka.Compression
		b     []byte
	}{
		"zstd window":        {kafka.Zstd, window},
		"zstd content":       {kafka.Zstd, content},
		"snappy block":       {kafka.Snappy, claim},
		"xerial frame":       {kafka.Snappy, append(bytes.Clone(xerial), 0xff, 0xff, 0xff, 0xff)},
		"xerial half length": {kafka.Snappy, append(bytes.Clone(xerial), 0, 0)},
		"xerial half header": {kafka.Snappy, xerial[:10]},
		"snappy of 60 MiB":   {kafka.Snappy, binary.AppendUvarint(nil, 60<<20)},
		"xerial huge block":  {kafka.Snappy, append(append(bytes.Clone(xerial), 0, 0, 0, 5), claim...)},
	} {
		n := allocated(func() {
			if _, err := decompress(c.codec, c.b); err == nil {
				t.Errorf("%s: no error", name)
			}
		})
		if n > 16<<20 {
			t.Errorf("%s: %d bytes allocated for %d", name, n, len(c.b))
		}
	}
	if _, err := decompress(kafka.Zstd, content); !errors.Is(err, errTooLarge) {
		t.Errorf("zstd content: %v", err)
	}
	if _, err := decompress(kafka.Zstd, window); !errors.Is(err, zstd.ErrWindowSizeExceeded) {
		t.Errorf("zstd window: %v", err)
	}
}
