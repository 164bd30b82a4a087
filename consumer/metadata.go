package consumer

import (
	"encoding/json"
	"fmt"

	"github.com/rs/zerolog"

	"smscancel/worker"
)

// metadata is the text that accompanies a committed offset: what the next owner
// must know to take over without reading the whole ledger. Its fields are only
// ever appended.
type metadata struct {
	Version   int    `json:"v"`
	ClusterID string `json:"cluster"`
	Outcomes  string `json:"outcomes"` // outcome topic
	N         int    `json:"n"`        // its partition count
	Offset    int64  `json:"offset"`   // the committed offset; another one there was set by an operator
	PID       int64  `json:"pid"`      // of the writer that committed
	Epoch     int16  `json:"epoch"`
	Last      *last  `json:"last,omitempty"`  // fingerprint of the last record below the watermark
	Ledger    int64  `json:"ledger"`          // outcomes of records at or beyond the offset stand here or later
	Lease     int64  `json:"lease"`           // calls may have been started up to this offset; -1 = none
	Clean     bool   `json:"clean,omitempty"` // nothing is in hand any more, and no record at or beyond the offset has an outcome
}

type last struct {
	Offset    int64  `json:"offset"`
	Timestamp int64  `json:"timestamp"`
	Hash      uint32 `json:"hash"`
}

const (
	metadataVersion = 1
	maxMetadata     = 4096 // offset.metadata.max.bytes of a broker, by default
)

func (m metadata) encode() (string, error) {
	m.Version = metadataVersion
	text, err := json.Marshal(m)
	if err == nil && len(text) > maxMetadata {
		err = fmt.Errorf("commit metadata has %d bytes, more than %d", len(text), maxMetadata)
	}
	return string(text), err
}

// committed is an offset commit as it was read.
type committed struct {
	offset int64 // -1 = none
	raw    string
	meta   *metadata // nil where there is none of ours
}

// parseCommitted reads a commit. Metadata that is not ours, or that was not
// written together with this offset, counts as missing.
func parseCommitted(offset int64, raw string) committed {
	c := committed{offset: offset, raw: raw}
	m := metadata{PID: -1, Epoch: -1, Ledger: -1, Lease: -2} // a field that is absent is not a zero
	if offset < 0 || json.Unmarshal([]byte(raw), &m) != nil || m.Offset != offset || !m.possible() {
		return c
	}
	c.meta = &m
	return c
}

// possible tells whether a writer could have committed this.
func (m *metadata) possible() bool {
	return m.Version >= 1 && m.N >= 1 && m.PID >= 0 && m.Epoch >= 0 && m.Ledger >= 0 && m.Lease >= -1 &&
		(m.Last == nil || m.Last.Offset >= 0 && m.Last.Offset < m.Offset)
}

// dict names the commit in a log line.
func (c committed) dict() *zerolog.Event {
	d := zerolog.Dict().Int64("offset", c.offset)
	if m := c.meta; m != nil {
		d = d.Int64("producerId", m.PID).Int16("epoch", m.Epoch).Int64("lease", m.Lease)
	}
	return d
}

// of tells whether the commit belongs to this ledger at all.
func (m *metadata) of(clusterID, outcomes string) bool {
	return m != nil && m.ClusterID == clusterID && m.Outcomes == outcomes
}

// fence is that of the writer that committed.
func (m *metadata) fence() fence { return fence{m.PID, m.Epoch} }

// writtenBy tells whether the commit is that of a given writer.
func (m *metadata) writtenBy(pid int64, epoch int16) bool {
	return m != nil && m.PID == pid && m.Epoch == epoch
}

func fingerprint(id worker.RecordID) *last {
	return &last{Offset: id.Offset, Timestamp: id.Timestamp, Hash: id.Hash}
}

func (l *last) id() worker.RecordID {
	return worker.RecordID{Offset: l.Offset, Timestamp: l.Timestamp, Hash: l.Hash}
}
