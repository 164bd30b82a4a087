package checker

// Rule names what a run must never show.
type Rule string

// The rules, the gravest first: a report lists violations in this order.
const (
	// One outcome for every request, nothing lost.
	Lost        Rule = "lost"         // a request has no outcome
	Second      Rule = "second"       // a request has more than one outcome
	Foreign     Rule = "foreign"      // an outcome is of no request
	Unreported  Rule = "unreported"   // the API cancelled a message, and its request's outcome neither says so nor is ambiguous
	StaleWriter Rule = "stale writer" // an outcome stands behind one of a later owner: the fence leaks
	CommitAhead Rule = "commit ahead" // an offset was committed before an outcome below it was durable
	CommitBack  Rule = "commit back"  // a committed offset, or the owner that committed it, is older than the one before

	// Honesty.
	Contradiction    Rule = "contradiction"     // status, count or error are not what the API answered
	AmbiguousMissing Rule = "ambiguous missing" // a call may have taken effect unseen, and the outcome does not say so
	AmbiguousFalse   Rule = "ambiguous false"   // the outcome says so, and no call can have
	WrongAttempts    Rule = "attempts"          // not the number of calls that the publishing owner tried
	WrongRejection   Rule = "rejection"         // a valid request is rejected, or an invalid one is not
	EarlyExpiry      Rule = "expiry"            // a request is expired that has no deadline, or before it
	WrongWithdrawal  Rule = "withdrawal"        // a request failed as withdrawn, and its campaign was not
	WrongDuplicate   Rule = "duplicate"         // not the copy of an earlier outcome that answers it

	// As few calls as possible, in order, by the owner.
	OutOfOrder   Rule = "order"         // outcomes of one message stand in another order than its requests
	Overlap      Rule = "overlap"       // a message was called for a request before the one before it was settled
	NeedlessCall Rule = "needless call" // an outcome that its owner knew answered the request already
	LateCall     Rule = "late call"     // a call started after the deadline of its request
	HeldCall     Rule = "held call"     // a call started although the operator held the request back
	Hammered     Rule = "hammered"      // calls beside single probes went out while the API refused the key
	ForeignCall  Rule = "foreign call"  // no request asked for a call
	ZombieCall   Rule = "zombie call"   // an owner called long after its partition had another one
	Unowned      Rule = "unowned"       // an outcome or a call is by a process that did not own the partition
	Unleased     Rule = "unleased"      // a call started before a lease that covers it was committed

	// What the next owner is told.
	WrongLease  Rule = "lease"    // the lease that an owner inherited is not what the commits say
	LeaseShort  Rule = "short"    // a committed lease leaves out what may have been called
	BadMetadata Rule = "metadata" // the text of a commit is not what the next owner needs

	// The form of an outcome.
	WrongPartition Rule = "partition"
	WrongKey       Rule = "key"
	WrongID        Rule = "id"
	WrongEcho      Rule = "echo"   // what the outcome repeats is not what the request said
	WrongHeader    Rule = "header" // the header that a replay reads contradicts the outcome

	Secret Rule = "secret" // the API key stands in an output
)

// severity is the order of the rules in a report.
var severity = func() map[Rule]int {
	order := map[Rule]int{}
	for i, rule := range Rules() {
		order[rule] = i
	}
	return order
}()

// Rules lists all rules, the gravest first.
func Rules() []Rule {
	return []Rule{
		Lost, Second, Foreign, Unreported, StaleWriter, CommitAhead, CommitBack,
		Contradiction, AmbiguousMissing, AmbiguousFalse, WrongAttempts, WrongRejection, EarlyExpiry, WrongWithdrawal, WrongDuplicate,
		OutOfOrder, Overlap, NeedlessCall, LateCall, HeldCall, Hammered, ForeignCall, ZombieCall, Unowned, Unleased,
		WrongLease, LeaseShort, BadMetadata,
		WrongPartition, WrongKey, WrongID, WrongEcho, WrongHeader, Secret,
	}
}
