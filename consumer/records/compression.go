package records

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/segmentio/kafka-go"
)

// maxContent bounds the decompressed records of a batch.
const maxContent = 64 << 20

var errTooLarge = fmt.Errorf("decompresses to more than %d bytes", maxContent)

// decompress returns the records of a compressed batch. gzip and lz4 are
// streams with small windows. snappy and zstd allocate what the input claims
// to need, so they are decoded here, where the claim is checked first.
func decompress(codec kafka.Compression, b []byte) ([]byte, error) {
	switch codec {
	case kafka.Snappy:
		return unsnappy(b)
	case kafka.Zstd:
		return unzstd(b)
	case kafka.Gzip, kafka.Lz4:
		return stream(codec.Codec(), b, maxContent)
	}
	return nil, fmt.Errorf("unknown compression %d", int8(codec))
}

func stream(codec kafka.CompressionCodec, b []byte, limit int) ([]byte, error) {
	r := codec.NewReader(bytes.NewReader(b))
	defer r.Close()
	out := bytes.NewBuffer(make([]byte, 0, min(4*len(b)+bytes.MinRead, limit)))
	n, err := out.ReadFrom(io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("decompress %s: %w", codec.Name(), err)
	}
	if n > int64(limit) {
		return nil, errTooLarge
	}
	return out.Bytes(), nil
}

// xerialMagic begins what Java's snappy library writes: this, two versions of
// 4 bytes, then blocks with a length of 4 bytes before each. Other clients
// write one bare block.
const (
	xerialMagic  = "\x82SNAPPY\x00"
	xerialHeader = len(xerialMagic) + 8
)

// snappyRatio is more than any block can grow: its densest element makes 64
// bytes of 3. A block that claims more is damaged.
const snappyRatio = 22

var errSnappy = errors.New("decompress snappy: malformed frame or block")

func unsnappy(b []byte) ([]byte, error) {
	if !bytes.HasPrefix(b, []byte(xerialMagic)) {
		return snappyBlock(nil, b)
	}
	if len(b) < xerialHeader {
		return nil, errSnappy
	}
	var out []byte
	for b = b[xerialHeader:]; len(b) > 0; {
		if len(b) < 4 {
			return nil, errSnappy
		}
		size := int64(binary.BigEndian.Uint32(b))
		if b = b[4:]; size > int64(len(b)) {
			return nil, errSnappy
		}
		var err error
		if out, err = snappyBlock(out, b[:size]); err != nil {
			return nil, err
		}
		b = b[size:]
	}
	return out, nil
}

// snappyBlock appends a decoded block.
func snappyBlock(out, block []byte) ([]byte, error) {
	n, err := snappy.DecodedLen(block)
	if err != nil {
		return nil, fmt.Errorf("decompress snappy: %w", err)
	}
	if n/snappyRatio > len(block) {
		return nil, errSnappy
	}
	if n > maxContent-len(out) {
		return nil, errTooLarge
	}
	end := len(out) + n
	out = slices.Grow(out, n)
	if _, err := snappy.Decode(out[len(out):end], block); err != nil {
		return nil, fmt.Errorf("decompress snappy: %w", err)
	}
	return out[:end], nil
}

// zstdDecoder serves any number of callers, as many at once as there are CPUs.
var zstdDecoder, errZstd = zstd.NewReader(nil,
	zstd.WithDecoderConcurrency(0),
	zstd.WithDecoderMaxMemory(maxContent)) // bounds the window too

func unzstd(b []byte) ([]byte, error) {
	if errZstd != nil {
		return nil, fmt.Errorf("start zstd: %w", errZstd)
	}
	out, err := zstdDecoder.DecodeAll(b, nil)
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return nil, errTooLarge
	}
	if err != nil {
		return nil, fmt.Errorf("decompress zstd: %w", err)
	}
	return out, nil
}
