package producer

import (
	"cmp"
	"slices"
)

// Places are those of requests that wait for their outcomes: a bit for each, so
// that ten million of them cost little more than a megabyte.
type Places struct {
	runs  map[int][]run // by partition, in the order of their offsets
	total int64
	left  int64
}

// run is a span, and which of its requests are settled.
type run struct {
	Span
	settled []uint64
}

// Add notes spans of requests, none of which it knows yet.
func (p *Places) Add(spans ...Span) {
	if p.runs == nil {
		p.runs = map[int][]run{}
	}
	for _, s := range spans {
		n := s.To - s.From
		p.total, p.left = p.total+n, p.left+n
		runs := p.runs[s.Partition]
		at, _ := slices.BinarySearchFunc(runs, s.From, func(r run, from int64) int { return cmp.Compare(r.From, from) })
		p.runs[s.Partition] = slices.Insert(runs, at, run{s, make([]uint64, (n+63)/64)})
	}
}

// Settle notes that the request at an offset has its outcome. It is false where
// nobody waits for that.
func (p *Places) Settle(partition int, offset int64) bool {
	runs := p.runs[partition]
	at, exact := slices.BinarySearchFunc(runs, offset, func(r run, offset int64) int { return cmp.Compare(r.From, offset) })
	if !exact {
		at--
	}
	if at < 0 || offset >= runs[at].To {
		return false
	}
	i := offset - runs[at].From
	word, bit := &runs[at].settled[i/64], uint64(1)<<(i%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	p.left--
	return true
}

// Total is how many requests were noted.
func (p *Places) Total() int64 { return p.total }

// Left is how many of them have no outcome yet.
func (p *Places) Left() int64 { return p.left }
