package checker

// Rule names what a run must never show.
type Rule string

// The rules, the gravest first.
const (
	Lost    Rule = "lost"    // a request has no outcome
	Second  Rule = "second"  // a request has more than one outcome
	Foreign Rule = "foreign" // an outcome is of no request
)
