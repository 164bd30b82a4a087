// Package audit holds requests against outcomes: every request record has exactly
// one outcome, and every outcome is of the request that it names. It is told what
// stands in the topics, reads nothing itself and changes nothing. The command
// `outcomes --verify` calls it.
package audit

import (
	"fmt"
	"time"

	"smscancel/worker"
)

// Source is a request partition as it stood when the audit began.
type Source struct {
	Topic     string
	Partition int
	First     int64 // the first offset that is kept
	End       int64 // the offset behind the last
	Committed int64 // by the group; -1 = nothing
}

// Ledger is an outcome partition as it stood when the audit began, after the
// commits had been read: what is committed has its outcome below the end.
type Ledger struct {
	Deleted bool      // retention has deleted outcomes
	Oldest  time.Time // of the outcomes that are kept; zero if there is none
}

// Audit is one audit. First every request is told (those of a partition by one
// goroutine at a time), then every outcome, then it is finished.
type Audit struct {
	clusterID string
	ledgers   []Ledger
	sources   map[string][]*source
	report    Report
}

// source is a request partition and what is known of its requests.
type source struct {
	Source
	pages    map[int64]*page
	requests int64
}

// New begins an audit. Sources are all partitions of the request topics, those of
// a topic in their order; ledgers are those of the outcome topic.
func New(clusterID string, sources []Source, ledgers []Ledger) *Audit {
	a := &Audit{clusterID: clusterID, ledgers: ledgers, sources: map[string][]*source{}}
	a.report.Elsewhere = map[string]int64{}
	for _, s := range sources {
		a.sources[s.Topic] = append(a.sources[s.Topic], &source{Source: s, pages: map[int64]*page{}})
	}
	return a
}

// Request takes note of a request record. Of those at or behind the end nothing is.
func (a *Audit) Request(rec *worker.Record) {
	s := a.sources[rec.Topic][rec.Partition]
	if rec.Offset >= s.End {
		return
	}
	s.requests++
	l := a.ledgers[rec.Partition%len(a.ledgers)]
	id := rec.ID()
	echo, named := echoOf(rec)
	s.at(rec.Offset).request(rec.Offset, facts{identity: identity(id.Timestamp, id.Hash), echo: echo},
		named, l.Deleted && (l.Oldest.IsZero() || !rec.Timestamp.After(l.Oldest)))
}

// Outcome is what an outcome record says, see Read.
type Outcome struct {
	Partition int // where it stands
	Offset    int64
	Topic     string // where its request does
	Source    int    // partition
	Request   int64  // offset

	identity uint32
	echo     [2]uint32 // with the sub-account, and without
	stray    string    // why it can be the outcome of no request
	wrong    string    // what is wrong although it may be that of its request
}

// Header is what the header of an outcome record says.
type Header struct {
	Partitions int // of the outcome topic when it was written
	Topic      string
	Partition  int
	Record     worker.RecordID // the request
}

// Read takes from the outcome record at a place what the audit needs. The error
// is why it has no header that could be read.
func (a *Audit) Read(o *worker.Outcome, partition int, offset int64, key []byte, h Header, err error) *Outcome {
	at := time.UnixMilli(h.Record.Timestamp)
	read := &Outcome{Partition: partition, Offset: offset, Topic: o.Source.Topic, Source: o.Source.Partition, Request: o.Source.Offset,
		identity: identity(h.Record.Timestamp, h.Record.Hash), echo: [2]uint32{echoFrom(o, true), echoFrom(o, false)}}
	switch n := len(a.ledgers); {
	case err != nil:
		read.stray = err.Error()
	case h.Topic != o.Source.Topic || h.Partition != o.Source.Partition || h.Record.Offset != o.Source.Offset || worker.FormatTime(at) != o.Source.Timestamp:
		read.stray = "its header names another request than its value"
	case h.Partitions != n:
		read.wrong = fmt.Sprintf("it was written for %d outcome partitions, there are %d", h.Partitions, n)
	case o.Source.Partition%n != partition:
		read.wrong = fmt.Sprintf("it stands in partition %d, not %d", partition, o.Source.Partition%n)
	case o.OutcomeID != worker.OutcomeID(a.clusterID, o.Source.Topic, o.Source.Partition, o.Source.Offset, at):
		read.wrong = fmt.Sprintf("its outcomeId is %.100q, not that of its request", o.OutcomeID)
	case o.Status != worker.StatusRejected && string(key) != (worker.Target{ID: o.UMID + o.BatchID}).Key():
		read.wrong = fmt.Sprintf("its key is %.100q, not the id of its message", key)
	}
	return read
}

// Outcome judges an outcome.
func (a *Audit) Outcome(o *Outcome) {
	a.report.Outcomes++
	partitions, known := a.sources[o.Topic]
	switch {
	case o.stray != "":
		a.found(Foreign, o, "%s", o.stray)
		return
	case !known:
		a.elsewhere(o)
		return
	case o.Source < 0 || o.Source >= len(partitions):
		a.found(Foreign, o, "there is no partition %d", o.Source)
		return
	}
	s := partitions[o.Source]
	switch offset := o.Request; {
	case offset >= s.End:
		a.report.Later++
		return
	case offset < 0:
		a.found(Foreign, o, "there is no such offset")
		return
	case offset < s.First:
		a.report.RequestsDeleted++
	default:
		if reason := s.compare(o); reason != "" {
			a.found(Foreign, o, "%s", reason)
			return
		}
	}
	if o.wrong != "" {
		a.found(Foreign, o, "%s", o.wrong)
	}
	if !s.at(o.Request).settle(o.Request) {
		a.found(Second, o, "another outcome of it stands before this one")
	}
}

// compare holds an outcome against the request that it names: what is wrong if it
// is not the outcome of that.
func (s *source) compare(o *Outcome) string {
	p, i := s.at(o.Request), o.Request%pageSize
	if !p.has(i) {
		return "no request stands there"
	}
	want := p.facts[i]
	if o.identity != want.identity {
		return "the request there has another timestamp or content"
	}
	if echo := o.echo[1-bit(&p.named, i)]; echo != want.echo {
		return "the request there is about another message, or has other ids"
	}
	return ""
}

// maxElsewhere bounds the topics that are told apart.
const maxElsewhere = 100

func (a *Audit) elsewhere(o *Outcome) {
	if _, known := a.report.Elsewhere[o.Topic]; !known && len(a.report.Elsewhere) >= maxElsewhere {
		a.found(Foreign, o, "there are outcomes of more than %d topics that are not verified", maxElsewhere)
		return
	}
	a.report.Elsewhere[o.Topic]++
}
