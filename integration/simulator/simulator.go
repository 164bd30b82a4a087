package simulator

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
)

// Simulator is the simulated API. All its methods may be used at any time and
// from any goroutine.
type Simulator struct {
	options Options
	world   atomic.Pointer[world]
	admin   http.Handler

	closed    chan struct{} // ends the calls that hang
	closeOnce sync.Once
}

// New makes a Simulator. The error names everything that is wrong with the
// options.
func New(o Options) (*Simulator, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("API simulator: %w", err)
	}
	s := &Simulator{options: o, closed: make(chan struct{})}
	if err := s.Reset(); err != nil {
		return nil, err
	}
	s.admin = s.newAdmin()
	return s, nil
}

// Handler serves the API and, under /admin/, the admin endpoint.
func (s *Simulator) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isAdmin(r) {
			s.admin.ServeHTTP(w, r)
			return
		}
		s.serveAPI(w, r)
	})
}

// APIHandler serves the API alone.
func (s *Simulator) APIHandler() http.Handler { return http.HandlerFunc(s.serveAPI) }

// AdminHandler serves the admin endpoint alone, for a listener of its own.
func (s *Simulator) AdminHandler() http.Handler { return s.admin }

// Calls copies the calls that the ledger keeps, those in progress included.
func (s *Simulator) Calls() []Call { return s.world.Load().ledger.after(0, 0) }

// CallsOf copies the calls for a UMID or batch id, which is compared in any case.
func (s *Simulator) CallsOf(id string) []Call { return s.world.Load().ledger.of(id) }

// Summary counts all calls.
func (s *Simulator) Summary() Summary { return s.world.Load().ledger.totals() }

// Messages lists the messages and batches that were called or declared, by id.
func (s *Simulator) Messages() []Message { return s.world.Load().messages.list() }

// Message tells what has become of a message, also of one never heard of.
func (s *Simulator) Message(umid string) Message {
	m, _ := s.world.Load().messages.lookup(newMessageKey(umid, false))
	return m
}

// Batch tells what has become of a batch, also of one never heard of.
func (s *Simulator) Batch(batchID string) Message {
	m, _ := s.world.Load().messages.lookup(newMessageKey(batchID, true))
	return m
}

// Faults are the faults in force.
func (s *Simulator) Faults() Faults {
	faults := s.world.Load().hazards.Load().given
	faults.Rates = maps.Clone(faults.Rates)
	return faults
}

// SetFaults replaces the faults for calls to come. Faults that are not valid
// change nothing.
func (s *Simulator) SetFaults(f Faults) error { return s.world.Load().setFaults(f) }

// SetKeys replaces the keys for calls to come; none = any key is accepted.
func (s *Simulator) SetKeys(keys ...Key) { s.world.Load().setKeys(keys) }

// Declare adds a scenario to what is declared already. What it names anew is
// replaced: state, script and rules begin again. An invalid one changes nothing.
func (s *Simulator) Declare(scenario Scenario) error {
	if err := scenario.validate(); err != nil {
		return fmt.Errorf("scenario: %w", err)
	}
	return s.world.Load().declare(&scenario)
}

// Reset makes everything as New made it, with an empty ledger. Calls in
// progress end without a trace in it.
func (s *Simulator) Reset() error {
	fresh, err := newWorld(&s.options)
	if err != nil {
		return err
	}
	if old := s.world.Swap(fresh); old != nil {
		old.ledger.wake()
	}
	return nil
}

// Await waits until the totals satisfy cond, which is asked again after every
// change.
func (s *Simulator) Await(ctx context.Context, cond func(Summary) bool) error {
	for {
		current := s.world.Load()
		summary, changed := current.ledger.watch()
		if current != s.world.Load() {
			continue // reset before we watched: nobody would wake us
		}
		if cond(summary) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("await calls of the API simulator: %w", ctx.Err())
		}
	}
}

// Close ends the calls that hang. Servers from Start are closed on their own;
// a server that the caller made needs this before it can shut down.
func (s *Simulator) Close() { s.closeOnce.Do(func() { close(s.closed) }) }
