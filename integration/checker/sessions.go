package checker

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"time"

	"smscancel/worker"
)

// fence names an owner of a request partition.
type fence struct {
	part  int32
	pid   int64
	epoch int16
}

// session is one owner of a request partition, from its fence to the next one.
type session struct {
	fence
	known    bool // its takeover stands in a log
	process  int32
	group    string
	fenced   int64 // Unix milliseconds
	offset   int64 // where it began
	end      int64 // of the request partition, as it read it
	lease    int64 // inherited
	capped   int64 // what was left of the lease from cappedAt on
	cappedAt int64 // Unix milliseconds; 0 = never, or its log has only more important lines
	read     readCommit
	trusted  bool // it took the commit's metadata for its own
	found    int  // outcomes that its replay found

	order   int32   // among the owners of its partition
	next    int32   // the owner after it
	commits []int32 // by it
	leases  []int64 // the largest that stood in one of them so far
}

// readCommit is the commit that a takeover says it has found.
type readCommit struct {
	Offset     int64  `json:"offset"`
	ProducerID *int64 `json:"producerId"` // nil = it had no metadata of ours
	Epoch      int16  `json:"epoch"`
	Lease      int64  `json:"lease"`
}

// attempt is one call as its process logged it.
type attempt struct {
	request int32
	process int32
	next    int32 // of the same request, by any process
	started int64 // Unix milliseconds
	took    float64
	status  int
	kind    string
	open    bool
	call    int32 // as the simulator saw it; none = it did not
}

// ended is when the process had its answer, Unix milliseconds.
func (a *attempt) ended() int64 { return a.started + int64(math.Ceil(a.took)) + 1 }

// lasted tells whether an attempt was not over yet.
func (a *attempt) lasted(until time.Time) bool { return until.UnixMilli() <= a.ended() }

// written tells whether the request may have reached the API.
func (a *attempt) written() bool { return a.status != 0 || a.open }

// line is what the checker reads of a log line.
type line struct {
	Message    string     `json:"message"`
	Instance   string     `json:"instance"`
	Group      string     `json:"group"`
	Topic      string     `json:"topic"`
	Partition  int        `json:"partition"`
	Offset     int64      `json:"offset"`
	ProducerID int64      `json:"producerId"`
	Epoch      int16      `json:"epoch"`
	FencedAt   string     `json:"fencedAt"`
	CappedAt   string     `json:"cappedAt"`
	End        int64      `json:"end"`
	Lease      int64      `json:"lease"`
	Commit     readCommit `json:"commit"`
	Metadata   bool       `json:"metadata"`
	Outcomes   int        `json:"outcomes"`
	StartedAt  string     `json:"startedAt"`
	Took       float64    `json:"took"`
	HTTPStatus int        `json:"httpStatus"`
	Kind       string     `json:"kind"`
	Open       bool       `json:"open"`
	Status     string     `json:"status"`
	Time       string     `json:"time"`
}

// What the checker reads in the logs.
const (
	saysTakenOver = "partition taken over"
	saysGivenUp   = "takeover given up"
	saysCapped    = "inherited lease capped"
	saysAttempt   = "attempt"
	saysOutcome   = "outcome"
)

// readLogs finds the takeovers and attempts in the logs.
func (b *book) readLogs() {
	newest := map[[2]int32]int32{} // of a process and a partition
	for i := range b.run.Logs {
		text := b.run.Logs[i].Text
		debug := bytes.Contains(text, []byte(`"level":"debug"`))
		for line := range bytes.Lines(text) {
			b.readLine(line, debug, newest)
		}
	}
}

func (b *book) readLine(text []byte, debug bool, newest map[[2]int32]int32) {
	message := messageOf(text)
	if message == "" {
		return
	}
	var l line
	if json.Unmarshal(text, &l) != nil || l.Message != message {
		return
	}
	process := b.process(l.Instance)
	key := [2]int32{process, b.part(l.Topic, l.Partition)}
	if debug {
		b.debug[process] = true
	}
	switch l.Message {
	case saysTakenOver:
		newest[key] = b.addSession(&l, process)
	case saysGivenUp:
		b.idle[fence{key[1], l.ProducerID, l.Epoch}] = process
	case saysCapped:
		if s, ok := newest[key]; ok {
			b.sessions[s].capped, b.sessions[s].cappedAt = l.Lease, millis(l.CappedAt)
		}
	case saysAttempt:
		b.addAttempt(&l, process)
	case saysOutcome:
		if r := b.requestAt(place{l.Topic, l.Partition, l.Offset}, ""); r != none && l.Status == string(worker.StatusFailed) {
			b.acknowledged[r] = max(b.acknowledged[r], millis(l.Time))
		}
	}
}

// messageOf spares the decoder the lines that say nothing here.
func messageOf(text []byte) string {
	for _, message := range []string{saysAttempt, saysOutcome, saysTakenOver, saysCapped, saysGivenUp} {
		if bytes.Contains(text, []byte(`"message":"`+message+`"`)) {
			return message
		}
	}
	return ""
}

func (b *book) process(instance string) int32 {
	i, ok := b.processes[instance]
	if !ok {
		i = int32(len(b.processes))
		b.processes[instance] = i
	}
	return i
}

func (b *book) addSession(l *line, process int32) int32 {
	part := b.part(l.Topic, l.Partition)
	i := int32(len(b.sessions))
	b.sessions = append(b.sessions, session{
		fence: fence{part, l.ProducerID, l.Epoch}, known: true, process: process, group: l.Group, fenced: millis(l.FencedAt),
		offset: l.Offset, end: l.End, lease: l.Lease, read: l.Commit, trusted: l.Metadata, found: l.Outcomes, next: none,
	})
	b.parts[part].sessions = append(b.parts[part].sessions, i)
	b.byFence[b.sessions[i].fence] = i
	return i
}

func (b *book) addAttempt(l *line, process int32) {
	r := b.requestAt(place{l.Topic, l.Partition, l.Offset}, "")
	if r == none {
		return // its call is judged without it
	}
	i := int32(len(b.attempts))
	b.attempts = append(b.attempts, attempt{request: r, process: process, next: none, call: none, started: millis(l.StartedAt), took: l.Took,
		status: l.HTTPStatus, kind: l.Kind, open: l.Open})
	link(&b.requests[r].attempt, &b.requests[r].lastAttempt, i, func(last int32) *int32 { return &b.attempts[last].next })
}

// link appends i to a list.
func link(first, last *int32, i int32, next func(int32) *int32) {
	if *first == none {
		*first = i
	} else {
		*next(*last) = i
	}
	*last = i
}

// orderSessions puts the owners of a partition in their order: epochs of one
// producer id follow each other whatever the clocks say.
func (b *book) orderSessions(p *part) {
	began := map[int64]int64{}
	for _, i := range p.sessions {
		s := &b.sessions[i]
		if at, ok := began[s.pid]; !ok || s.fenced < at {
			began[s.pid] = s.fenced
		}
	}
	slices.SortStableFunc(p.sessions, func(x, y int32) int {
		a, b := &b.sessions[x], &b.sessions[y]
		switch {
		case a.pid == b.pid:
			return int(a.epoch) - int(b.epoch)
		case began[a.pid] < began[b.pid]:
			return -1
		}
		return 1
	})
	for n, i := range p.sessions {
		b.sessions[i].next = none
		if n+1 < len(p.sessions) {
			b.sessions[i].next = p.sessions[n+1]
		}
		b.sessions[i].order = int32(n)
		if s := &b.sessions[i]; s.known {
			key := [2]int32{s.process, s.part}
			b.owned[key] = append(b.owned[key], i)
		}
	}
}

// sessionOf finds the owner that a process was at a time. near tells that it may
// as well have been the one before: the time is that of the simulator, and the
// call may have been on its way.
func (b *book) sessionOf(part, process int32, at int64) (found int32, near bool) {
	found = none
	for _, i := range b.owned[[2]int32{process, part}] {
		s := &b.sessions[i]
		if s.fenced > at {
			break
		}
		near = found != none && at-s.fenced < arrival
		found = i
	}
	return found, near
}

// arrival is how long a call may be on its way to the simulator, milliseconds.
const arrival = 1000
