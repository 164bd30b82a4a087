package audit

import (
	"hash/fnv"
	"strings"

	"smscancel/worker"
)

const pageSize = 4096

// page is what is known of the requests at pageSize offsets: nine bytes for each.
type page struct {
	facts   *[pageSize]facts // nil where no request stands
	present bits             // a request stands there
	named   bits             // it names its sub-account
	excused bits             // its outcome may have been deleted
	settled bits             // it has an outcome
}

// facts are fingerprints of a request, to hold against its outcome.
type facts struct {
	identity uint32 // of timestamp, key and value
	echo     uint32 // of the ids that an outcome repeats
}

type bits [pageSize / 64]uint64

func (b *bits) set(i int64) { b[i/64] |= 1 << (i % 64) }

func bit(b *bits, i int64) int { return int(b[i/64] >> (i % 64) & 1) }

// at is the page of an offset.
func (s *source) at(offset int64) *page {
	p := s.pages[offset/pageSize]
	if p == nil {
		p = &page{}
		s.pages[offset/pageSize] = p
	}
	return p
}

func (p *page) has(i int64) bool { return bit(&p.present, i) == 1 }

func (p *page) request(offset int64, f facts, named, excused bool) {
	if p.facts == nil {
		p.facts = new([pageSize]facts)
	}
	i := offset % pageSize
	p.facts[i] = f
	p.present.set(i)
	if named {
		p.named.set(i)
	}
	if excused {
		p.excused.set(i)
	}
}

// settle notes an outcome; false if there was one.
func (p *page) settle(offset int64) bool {
	i := offset % pageSize
	first := bit(&p.settled, i) == 0
	p.settled.set(i)
	return first
}

// identity is a fingerprint of what tells a record from another at its offset.
func identity(timestamp int64, hash uint32) uint32 {
	const odd = 0x9e3779b97f4a7c15
	return uint32(uint64(timestamp)*odd>>32) ^ hash
}

// echoOf is a fingerprint of what the outcome of a request repeats, and whether
// its sub-account is in it: one that the request does not name is the worker's
// default, which is not known here.
func echoOf(rec *worker.Record) (echo uint32, named bool) {
	req, err := worker.Parser{}.Parse(rec)
	if rejection, ok := err.(*worker.Rejection); ok { //nolint:errorlint // Parse says that it is nothing else
		req = rejection.Partial
	}
	return fingerprint(req.SubAccountID, req.ID, req.RequestID, req.CampaignID), req.SubAccountID != ""
}

// echoFrom is the same of an outcome.
func echoFrom(o *worker.Outcome, named bool) uint32 {
	sub := ""
	if named {
		sub = o.SubAccountID
	}
	return fingerprint(sub, o.UMID+o.BatchID, o.RequestID, o.CampaignID)
}

// fingerprint leaves out what is not UTF-8, which no outcome can repeat.
func fingerprint(texts ...string) uint32 {
	h := fnv.New64a()
	for _, text := range texts {
		h.Write([]byte(strings.ReplaceAll(strings.ToValidUTF8(text, ""), "\uFFFD", ""))) //nolint:errcheck // it has none
		h.Write([]byte{0})                                                               //nolint:errcheck // likewise
	}
	sum := h.Sum64()
	return uint32(sum>>32) ^ uint32(sum)
}
