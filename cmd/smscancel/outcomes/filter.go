package outcomes

import (
	"slices"
	"strings"
	"time"

	"smscancel/worker"
)

// Filter selects outcomes. An empty list, and a zero time, selects all.
type Filter struct {
	Statuses  []worker.Status
	Kinds     []worker.Kind
	Codes     []int // the API's
	Campaigns []string
	IDs       []string // of messages and batches, in any case
	Ambiguous bool     // only those
	Since     time.Time
	Until     time.Time // exclusive
}

// Match tells whether an outcome is selected.
func (f *Filter) Match(o *Record) bool {
	return f.InCampaign(o) && among(f.Statuses, o.Status) && f.matchError(o.Error) && f.matchID(o) && (o.Ambiguous || !f.Ambiguous) &&
		(f.Since.IsZero() || !o.At.Before(f.Since)) && (f.Until.IsZero() || o.At.Before(f.Until))
}

// InCampaign tells whether an outcome is of a selected campaign.
func (f *Filter) InCampaign(o *Record) bool { return among(f.Campaigns, o.CampaignID) }

func (f *Filter) matchError(e *worker.Error) bool {
	if e == nil {
		return len(f.Kinds) == 0 && len(f.Codes) == 0
	}
	return among(f.Kinds, e.Kind) && (len(f.Codes) == 0 || e.Code != nil && slices.Contains(f.Codes, *e.Code))
}

func (f *Filter) matchID(o *Record) bool {
	id := o.UMID + o.BatchID // one of the two
	return len(f.IDs) == 0 || slices.ContainsFunc(f.IDs, func(wanted string) bool { return strings.EqualFold(wanted, id) })
}

func among[T comparable](all []T, one T) bool { return len(all) == 0 || slices.Contains(all, one) }

// Statuses are all that there are, in the order in which they are shown.
func Statuses() []worker.Status {
	return []worker.Status{worker.StatusCancelled, worker.StatusNotCancelled, worker.StatusFailed,
		worker.StatusDuplicate, worker.StatusExpired, worker.StatusRejected}
}

// Kinds are all kinds of error.
func Kinds() []worker.Kind {
	return []worker.Kind{worker.KindInvalidRequest, worker.KindUnauthorized, worker.KindForbidden, worker.KindNotFound,
		worker.KindUpgradeRequired, worker.KindRateLimited, worker.KindServerError, worker.KindClientError, worker.KindBadResponse,
		worker.KindTimeout, worker.KindNetwork, worker.KindTLS, worker.KindWithdrawn}
}
