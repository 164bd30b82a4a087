// Package schedule runs several replicas of the real worker against the
// embedded broker and the API simulator in virtual time, and lets go wrong what
// a seed says: crashes at every boundary, pauses, rebalances, errors of broker
// and API, lost and late messages. Package checker decides over what is left.
//
// It knows nothing of how the worker works inside: faults strike at the
// network. Its callers are `make test`, with a few fresh seeds, and `make faults`.
package schedule
