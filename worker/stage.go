package worker

// stage is what a job does now, or waits for.
type stage uint32

const (
	stageTurn stage = iota
	stageDuplicate
	stagePause
	stageLedger
	stageAdmission
	stageCall
	stageRetry
	stageOutcome
)

var stageNames = [...]string{"turn", "duplicate", "pause", "ledger", WaitsForAdmission, "call", "retry", "outcome"}

// WaitsForAdmission is the stage of a job that is ready to call and may not yet:
// the state of its sub-account says why.
const WaitsForAdmission = "admission"

// Stage tells what a request waits for: turn (it was just taken in hand),
// duplicate (an earlier request of its message), pause (the operator), ledger
// (a sign that this worker may still write), admission, call (the API's answer),
// retry, or outcome (its outcome to be durable). It is safe for concurrent use.
func (j *Job) Stage() string { return stageNames[j.stage.Load()] }

// SubAccountID is that of the request, empty for a rejected record.
func (j *Job) SubAccountID() string { return j.base.SubAccountID }

func (j *Job) at(s stage) { j.stage.Store(uint32(s)) }
