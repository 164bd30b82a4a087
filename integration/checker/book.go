package checker

import (
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"smscancel/worker"
)

// none is no index.
const none = int32(-1)

// book is a run, indexed: what belongs together is linked by indices, so that
// the largest runs fit into memory.
type book struct {
	run        *Run
	partitions map[source]int32
	parts      []part
	requests   []request       // as run.Requests
	outcomes   []outcome       // as run.Outcomes
	calls      []call          // in the order of their start
	attempts   []attempt       // in the order of the logs
	commits    []commit        // as run.Commits
	histories  map[string]bool // groups whose commits are known
	sessions   []session
	byFence    map[fence]int32
	owned      map[[2]int32][]int32    // sessions of a process in a partition, in their order
	bySpot     map[spot]int32          // requests; of several logs of one topic the last
	byOffset   [][]int32               // the requests of a partition in their order
	asked      map[fingerprint]int32   // first request that a call may be for
	sharing    map[fingerprint][]int32 // all of them, where there are several
	committed  map[groupPart][]int32   // the commits of a group in a partition
	targets    map[fingerprint]int32
	processes  map[string]int32
	debug      map[int32]bool  // processes that log every attempt
	idle       map[fence]int32 // fences under which nothing was done, and the process that gave them up
	hash       maphash.Seed

	acknowledged map[int32]int64 // when the owner of a failed request had its outcome's acknowledgement, as far as it is told
}

// source is a request partition.
type source struct {
	topic     string
	partition int
}

// part is what is known of a source.
type part struct {
	source
	sessions []int32 // in their order
	logs     int     // 1, or more where the topic was deleted and created again
}

// request is one record of a request topic.
type request struct {
	part        int32
	target      int32 // the message or batch in its partition; none for a record that is no valid request
	outcome     int32 // the first one
	call        int32 // the first one
	lastCall    int32
	attempt     int32 // the first one
	lastAttempt int32

	older    int32 // the request at the same place of an earlier log
	deadline int64 // Unix milliseconds; 0 = none
	force    bool
	batch    bool
	calls    int32 // how many
	held     uint64
}

type fingerprint [2]uint64

// groupPart is what a history of commits is of.
type groupPart struct {
	group string
	part  int32
}

// target names a message or batch, in one partition or in all.
type target struct {
	part       int32
	subAccount string
	id         string
	batch      bool
	trace      string
}

func newBook(run *Run) *book {
	return &book{
		run: run, partitions: map[source]int32{}, requests: make([]request, len(run.Requests)), outcomes: make([]outcome, len(run.Outcomes)),
		bySpot: make(map[spot]int32, len(run.Requests)), asked: make(map[fingerprint]int32, len(run.Requests)),
		sharing: map[fingerprint][]int32{}, committed: map[groupPart][]int32{}, histories: map[string]bool{},
		targets: make(map[fingerprint]int32, len(run.Requests)), processes: map[string]int32{}, debug: map[int32]bool{},
		idle: map[fence]int32{}, byFence: map[fence]int32{}, owned: map[[2]int32][]int32{}, hash: maphash.MakeSeed(),
		acknowledged: map[int32]int64{},
	}
}

func (b *book) fingerprint(t target) fingerprint {
	high := maphash.Comparable(b.hash, t)
	t.trace += "."
	return fingerprint{high, maphash.Comparable(b.hash, t)}
}

// part finds or adds a request partition.
func (b *book) part(topic string, partition int) int32 {
	s := source{topic, partition}
	i, ok := b.partitions[s]
	if !ok {
		i = int32(len(b.parts))
		b.partitions[s] = i
		b.parts = append(b.parts, part{source: s, logs: 1})
		b.byOffset = append(b.byOffset, nil)
	}
	return i
}

// readRequests indexes the requests by place, by message and by what tells
// their calls.
func (b *book) readRequests() {
	for i := range b.run.Requests {
		b.readRequest(int32(i))
	}
}

func (b *book) readRequest(i int32) {
	rec := &b.run.Requests[i]
	r := &b.requests[i]
	*r = request{part: b.part(rec.Topic, rec.Partition), target: none, outcome: none, call: none, lastCall: none,
		attempt: none, lastAttempt: none, older: none}
	b.byOffset[r.part] = append(b.byOffset[r.part], i)
	at := spot{r.part, rec.Offset}
	if older, twice := b.bySpot[at]; twice {
		r.older = older
		b.parts[r.part].logs = 2
	}
	b.bySpot[at] = i
	req, rejection := b.parse(rec)
	if rejection != nil {
		return
	}
	r.force, r.batch, r.held = req.Force, req.Batch, b.heldBy(req)
	if !req.Deadline.IsZero() {
		r.deadline = max(req.Deadline.UnixMilli(), 1)
	}
	r.target = b.target(r.part, req)
	key := b.fingerprint(target{part: none, subAccount: req.SubAccountID, id: req.Target.Key(), batch: req.Batch, trace: traceOf(req.TraceParent)})
	switch first, taken := b.asked[key]; {
	case !taken:
		b.asked[key] = i
	case b.sharing[key] == nil:
		b.sharing[key] = []int32{first, i}
	default:
		b.sharing[key] = append(b.sharing[key], i)
	}
}

// target numbers the messages and batches of a partition.
func (b *book) target(part int32, req *worker.Request) int32 {
	key := b.fingerprint(target{part: part, subAccount: req.SubAccountID, id: req.Target.Key(), batch: req.Batch})
	n, ok := b.targets[key]
	if !ok {
		n = int32(len(b.targets))
		b.targets[key] = n
	}
	return n
}

// parse reads a request record as the worker must.
func (b *book) parse(rec *Record) (*worker.Request, *worker.Rejection) {
	req, err := worker.Parser{DefaultSubAccount: b.run.Setup.DefaultSubAccount}.Parse(workerRecord(rec))
	var rejection *worker.Rejection
	if errors.As(err, &rejection) {
		return nil, rejection
	}
	return req, nil
}

func workerRecord(rec *Record) *worker.Record {
	w := &worker.Record{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Timestamp: rec.Timestamp, Key: rec.Key, Value: rec.Value}
	for _, h := range rec.Headers {
		w.Headers = append(w.Headers, worker.Header(h))
	}
	return w
}

// traceOf is the trace id of a W3C traceparent; whatever else stands there is
// taken whole.
func traceOf(traceParent string) string {
	if strings.ContainsFunc(traceParent, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "" // the worker cannot hand it on to the API
	}
	if len(traceParent) >= 55 && traceParent[2] == '-' && traceParent[35] == '-' {
		return traceParent[3:35]
	}
	return traceParent
}

// place is where a record stands.
type place struct {
	topic     string
	partition int
	offset    int64
}

func placeOf(r *Record) place { return place{r.Topic, r.Partition, r.Offset} }

func (p place) String() string { return fmt.Sprintf("%s/%d/%d", p.topic, p.partition, p.offset) }

// spot is the place of a request.
type spot struct {
	part   int32
	offset int64
}

// requestAt finds the request at a place; of several logs of the topic the one
// whose record has the timestamp.
func (b *book) requestAt(at place, timestamp string) int32 {
	p, ok := b.partitions[source{at.topic, at.partition}]
	if !ok {
		return none
	}
	i, ok := b.bySpot[spot{p, at.offset}]
	if !ok {
		return none
	}
	for older := i; older != none; older = b.requests[older].older {
		if worker.FormatTime(b.run.Requests[older].Timestamp) == timestamp {
			return older
		}
	}
	return i
}

// millis reads a time as the worker writes it; 0 = none.
func millis(text string) int64 {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0
	}
	return t.UnixMilli()
}

// firstFrom is where in byOffset the requests from an offset on begin.
func (b *book) firstFrom(part int32, offset int64) int {
	at, _ := slices.BinarySearchFunc(b.byOffset[part], offset, func(i int32, offset int64) int {
		return cmp.Compare(b.run.Requests[i].Offset, offset)
	})
	return at
}

// clock writes a time as the stories show it.
func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }

func clockOf(millis int64) string { return clock(time.UnixMilli(millis)) }

// instance is the name of a process.
func (b *book) instance(process int32) string {
	for name, i := range b.processes {
		if i == process {
			return name
		}
	}
	return "a process without a log"
}
