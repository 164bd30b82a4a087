package audit

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// Kind is what is wrong.
type Kind string

// The kinds.
const (
	Lost    Kind = "lost"    // a request has no outcome, and the group has committed past it
	Pending Kind = "pending" // a request has no outcome yet
	Second  Kind = "second"  // a request has more than one outcome
	Foreign Kind = "foreign" // an outcome is of no request, or not what its request's would be
)

// Kinds lists them.
func Kinds() []Kind { return []Kind{Lost, Pending, Second, Foreign} }

// MaxListed is how many findings of a kind a report lists.
const MaxListed = 100

// Finding is one thing that is wrong.
type Finding struct {
	Kind    Kind   `json:"kind"`
	Request string `json:"request"`           // topic/partition/offset
	Outcome string `json:"outcome,omitempty"` // partition/offset in the outcome topic
	What    string `json:"what"`
}

// Report is what an audit found.
type Report struct {
	Requests        int64            `json:"requests"`
	Outcomes        int64            `json:"outcomes"`
	Later           int64            `json:"outcomesOfLaterRequests"`   // that came after the audit began; not verified
	RequestsDeleted int64            `json:"outcomesOfDeletedRequests"` // verified as far as they themselves say
	OutcomesDeleted int64            `json:"requestsOlderThanOutcomes"` // without an outcome: retention may have deleted it
	Elsewhere       map[string]int64 `json:"notVerified"`               // outcomes of request topics that were not read
	Count           map[Kind]int64   `json:"found"`
	Findings        []Finding        `json:"findings"` // at most MaxListed of a kind
}

func (a *Audit) found(kind Kind, o *Outcome, format string, args ...any) {
	a.report.Add(Finding{
		Kind: kind, Request: fmt.Sprintf("%s/%d/%d", o.Topic, o.Source, o.Request), Outcome: fmt.Sprintf("%d/%d", o.Partition, o.Offset),
		What: fmt.Sprintf(format, args...),
	}, 1)
}

// Add notes a finding that stands for n of its kind.
func (r *Report) Add(f Finding, n int64) {
	if r.Count == nil {
		r.Count = map[Kind]int64{}
	}
	if r.Count[f.Kind] += n; r.Count[f.Kind] < MaxListed+n {
		r.Findings = append(r.Findings, f)
	}
}

// Finish finds the requests without an outcome.
func (a *Audit) Finish() *Report {
	for _, topic := range slices.Sorted(maps.Keys(a.sources)) {
		for _, s := range a.sources[topic] {
			a.report.Requests += s.requests
			a.missing(s)
		}
	}
	order := Kinds()
	slices.SortStableFunc(a.report.Findings, func(x, y Finding) int {
		return cmp.Compare(slices.Index(order, x.Kind), slices.Index(order, y.Kind))
	})
	return &a.report
}

func (a *Audit) missing(s *source) {
	for _, n := range slices.Sorted(maps.Keys(s.pages)) {
		p := s.pages[n]
		for word := range p.present {
			if p.present[word]&^p.settled[word] != 0 {
				for i := int64(word) * 64; i < int64(word+1)*64; i++ {
					if bit(&p.present, i) == 1 && bit(&p.settled, i) == 0 {
						a.unsettled(s, n*pageSize+i, bit(&p.excused, i) == 1)
					}
				}
			}
		}
	}
}

func (a *Audit) unsettled(s *source, offset int64, excused bool) {
	f := Finding{Request: fmt.Sprintf("%s/%d/%d", s.Topic, s.Partition, offset)}
	switch {
	case s.Committed < 0:
		f.Kind, f.What = Pending, "it has no outcome yet: the group has committed nothing here"
	case offset >= s.Committed:
		f.Kind, f.What = Pending, fmt.Sprintf("it has no outcome yet: the group has committed up to offset %d", s.Committed)
	case excused:
		a.report.OutcomesDeleted++
		return
	default:
		f.Kind, f.What = Lost, fmt.Sprintf("it has no outcome, and the group has committed up to offset %d", s.Committed)
	}
	a.report.Add(f, 1)
}
