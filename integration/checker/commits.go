package checker

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
)

// metadata is the text of a commit, as design.md's "Commit metadata" has it.
type metadata struct {
	Version   int    `json:"v"`
	ClusterID string `json:"cluster"`
	Outcomes  string `json:"outcomes"`
	N         int    `json:"n"`
	Offset    int64  `json:"offset"`
	PID       int64  `json:"pid"`
	Epoch     int16  `json:"epoch"`
	Last      *last  `json:"last"`
	Ledger    int64  `json:"ledger"`
	Lease     int64  `json:"lease"`
	Clean     bool   `json:"clean"`
}

// last is the fingerprint of the last record below a commit.
type last struct {
	Offset    int64  `json:"offset"`
	Timestamp int64  `json:"timestamp"`
	Hash      uint32 `json:"hash"`
}

// commit is one offset commit. Its index is that in the run.
type commit struct {
	part    int32
	session int32 // none = it is by no owner
	parsed  bool
	meta    metadata
}

// maxMetadata is offset.metadata.max.bytes of a broker, by default.
const maxMetadata = 4096

// readCommits reads the metadata and finds the owner that wrote each commit.
func (c *check) readCommits() {
	c.commits = make([]commit, len(c.run.Commits))
	for i := range c.run.Commits {
		of := &c.run.Commits[i]
		k := &c.commits[i]
		*k = commit{part: c.part(of.Topic, of.Partition), session: none}
		c.histories[c.groupOf(of)] = true
		key := groupPart{c.groupOf(of), k.part}
		c.committed[key] = append(c.committed[key], int32(i))
		if of.Offset < 0 {
			c.parts[k.part].logs = 2
			continue
		}
		err := k.meta.read(of)
		k.parsed = err == nil
		if err == nil {
			err = k.meta.suits(of, &c.run.Setup)
		}
		if err != nil {
			if !c.run.Setup.OffsetsSet {
				c.violated(BadMetadata, none, "the commit of %s at %s by %s: %v: %q", placeOfCommit(of), clock(of.At), c.groupOf(of), err, of.Metadata)
			}
			continue
		}
		f := fence{k.part, k.meta.PID, k.meta.Epoch}
		s, ok := c.byFence[f]
		if !ok || c.sessions[s].group != c.groupOf(of) && c.sessions[s].known {
			continue // a takeover that was cut short, or an operator's copy
		}
		k.session = s
		c.sessions[s].commit(int32(i), k.meta.Lease)
	}
}

// read parses the text of a commit. Without an error it is one that the next
// owner can go by, if it is of this ledger.
func (m *metadata) read(of *Commit) error {
	if err := json.Unmarshal([]byte(of.Metadata), m); err != nil {
		return err
	}
	switch {
	case m.Version < 1:
		return errors.New("no version")
	case m.Offset != of.Offset:
		return fmt.Errorf("it is of offset %d", m.Offset)
	case m.Lease < -1 || m.Ledger < 0 || m.N < 1:
		return errors.New("a field is out of its range")
	}
	return nil
}

// suits tells what makes metadata useless for the next owner of this ledger.
func (m *metadata) suits(of *Commit, setup *Setup) error {
	switch {
	case m.ClusterID != setup.ClusterID || m.Outcomes != setup.OutcomeTopic || m.N != setup.N:
		return fmt.Errorf("it is of another ledger than %s of %s with %d partitions", setup.OutcomeTopic, setup.ClusterID, setup.N)
	case len(of.Metadata) > maxMetadata:
		return fmt.Errorf("it has %d bytes", len(of.Metadata))
	case m.Last != nil && m.Last.Offset >= of.Offset:
		return errors.New("the last record below it is not below it")
	}
	return nil
}

// commit files a commit with its owner.
func (s *session) commit(i int32, lease int64) {
	if n := len(s.leases); n > 0 {
		lease = max(lease, s.leases[n-1])
	}
	s.commits, s.leases = append(s.commits, i), append(s.leases, lease)
}

func (c *check) groupOf(of *Commit) string { return cmp.Or(of.Group, c.run.Setup.Group) }

// hasHistory tells whether the commits of a group are known.
func (c *check) hasHistory(group string) bool { return c.histories[group] }

func placeOfCommit(of *Commit) string { return place{of.Topic, of.Partition, of.Offset}.String() }

// checkCommits decides what the history of commits may not show.
func (c *check) checkCommits() {
	before := map[groupPart]int32{}
	for i := range c.run.Commits {
		of, k := &c.run.Commits[i], &c.commits[i]
		key := groupPart{c.groupOf(of), k.part}
		if of.Offset < 0 {
			delete(before, key)
			continue
		}
		if last, ok := before[key]; ok && !c.run.Setup.OffsetsSet {
			c.checkProgress(of, k, &c.run.Commits[last], &c.commits[last])
		}
		before[key] = int32(i)
		c.checkFingerprint(of, k)
	}
	for s := range c.sessions {
		c.checkAhead(&c.sessions[s])
		c.checkCovered(&c.sessions[s])
	}
}

// checkProgress compares a commit with the one before it.
func (c *check) checkProgress(of *Commit, k *commit, old *Commit, was *commit) {
	if of.Offset < old.Offset && c.parts[k.part].logs == 1 {
		c.violated(CommitBack, none, "the commit of %s at %s follows one of offset %d", placeOfCommit(of), clock(of.At), old.Offset)
	}
	if k.session == none || was.session == none {
		return
	}
	if s, before := &c.sessions[k.session], &c.sessions[was.session]; s.order < before.order {
		c.violated(CommitBack, none, "the commit of %s at %s is by epoch %d of producer %d and follows one by epoch %d of producer %d, which had taken over",
			placeOfCommit(of), clock(of.At), s.epoch, s.pid, before.epoch, before.pid)
	}
}

// checkFingerprint: the last record below a commit is one that was there.
func (c *check) checkFingerprint(of *Commit, k *commit) {
	m := &k.meta
	if k.session == none || m.Last == nil {
		return
	}
	i, ok := c.bySpot[spot{k.part, m.Last.Offset}]
	if !ok {
		return // retention has deleted it before anybody could read it here
	}
	for ; i != none; i = c.requests[i].older {
		rec := &c.run.Requests[i]
		if rec.Timestamp.UnixMilli() == m.Last.Timestamp && workerRecord(rec).Hash() == m.Last.Hash {
			return
		}
	}
	c.violated(BadMetadata, none, "the commit of %s at %s names a last record that is not the one at offset %d: %q",
		placeOfCommit(of), clock(of.At), m.Last.Offset, of.Metadata)
}

// checkAhead: when an owner committed an offset, every record from where it
// began up to there had a durable outcome. An outcome's time is that of its
// append where the topic stamps it (LogAppendTime), else when it was sent: then
// a commit between sending and append goes unnoticed.
func (c *check) checkAhead(s *session) {
	if !s.known || c.run.Setup.ClocksDiffer || c.parts[s.part].logs > 1 {
		return
	}
	requests := c.byOffset[s.part]
	at := c.firstFrom(s.part, s.offset)
	var youngest int64
	var latest int32 = none
	for _, i := range s.commits {
		of := &c.run.Commits[i]
		for ; at < len(requests) && c.run.Requests[requests[at]].Offset < of.Offset; at++ {
			o := c.requests[requests[at]].outcome
			if o == none {
				continue // it is lost, which is another rule's concern
			}
			if t := c.run.Outcomes[o].Timestamp.UnixMilli(); t > youngest {
				youngest, latest = t, requests[at]
			}
		}
		if latest != none && youngest > of.At.UnixMilli() {
			c.violated(CommitAhead, latest, "offset %d was committed at %s, and its outcome is of %s",
				of.Offset, clock(of.At), clock(c.run.Outcomes[c.requests[latest].outcome].Timestamp))
			return
		}
	}
}

// checkCovered: a lease goes back only as far as nothing between may have been
// called, by this owner or one before.
func (c *check) checkCovered(s *session) {
	high := int64(-1)
	for _, i := range s.commits {
		of, lease := &c.run.Commits[i], c.commits[i].meta.Lease
		if left := c.inherited(s, of.At.UnixMilli()); s.known && lease < left {
			c.violated(LeaseShort, none, "the commit of %s at %s has the lease %d, and %d was inherited", placeOfCommit(of), clock(of.At), lease, left)
			return
		}
		if lease < high {
			c.checkTrimmed(s, of, lease, high)
		}
		high = max(high, lease)
	}
}

// inherited is what was at least left at a time of the lease that an owner has
// inherited.
func (c *check) inherited(s *session, at int64) int64 {
	switch {
	case s.cappedAt != 0 && s.cappedAt <= at+1:
		return s.capped
	case s.cappedAt == 0 && !c.debug[s.process]:
		return min(s.lease, s.end-1) // it may have been capped without a word
	}
	return s.lease
}

// checkTrimmed looks for a call that a smaller lease leaves out.
func (c *check) checkTrimmed(s *session, of *Commit, lease, high int64) {
	if c.parts[s.part].logs > 1 || c.run.Setup.ClocksDiffer {
		return
	}
	requests := c.byOffset[s.part]
	for at := c.firstFrom(s.part, lease+1); at < len(requests) && c.run.Requests[requests[at]].Offset <= high; at++ {
		i := requests[at]
		o := c.requests[i].outcome
		if o != none && !c.run.Outcomes[o].Timestamp.After(of.At) {
			continue
		}
		for k := c.requests[i].call; k != none; k = c.calls[k].next {
			seen := c.seen(&c.calls[k])
			if c.calls[k].session != none && &c.sessions[c.calls[k].session] == s && seen.StartedAt.Before(of.At) && mayHaveTakenEffect(seen) {
				c.violated(LeaseShort, i, "the commit of %s at %s has the lease %d, and this request had been called at %s and had no outcome",
					placeOfCommit(of), clock(of.At), lease, clock(seen.StartedAt))
				return
			}
		}
	}
}
