package submission

import (
	"errors"
	"sync"

	"smscancel/producer"
)

// Limits of a batch, and so of what is in memory: one is on its way while the
// next one is read.
const (
	batchRows  = 20_000
	batchBytes = 8 << 20

	// fileRows is the least of a file that makes a batch: each costs a sync of the
	// journal.
	fileRows = 5_000
)

// row is a request and where it was read.
type row struct {
	in   *Input
	line int
	producer.Request
}

// queue holds what was read while a batch is on its way: that is the next batch.
// A row from a stream waits for no company.
type queue struct {
	mu      sync.Mutex
	changed *sync.Cond
	rows    []row
	bytes   int
	over    bool  // nothing comes any more
	err     error // why, if that is not the end
	closed  error // nobody takes any more
}

var errAbandoned = errors.New("the submission is over")

func newQueue() *queue {
	q := &queue{}
	q.changed = sync.NewCond(&q.mu)
	return q
}

// put adds a row; it waits while a batch is full.
func (q *queue) put(r row) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.closed == nil && (len(q.rows) >= batchRows || q.bytes >= batchBytes) {
		q.changed.Wait()
	}
	q.rows, q.bytes = append(q.rows, r), q.bytes+len(r.Value)
	if q.ready() {
		q.changed.Broadcast()
	}
	return q.closed
}

// ready tells whether there is a batch.
func (q *queue) ready() bool {
	n := len(q.rows)
	return n >= fileRows || q.bytes >= batchBytes/2 || n > 0 && q.rows[n-1].in.Stream != nil
}

// end says that no more rows come.
func (q *queue) end(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.over, q.err = true, err
	q.changed.Broadcast()
}

// close lets nobody wait any more.
func (q *queue) close(why error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed == nil {
		q.closed = why
	}
	q.changed.Broadcast()
}

// take returns all that is there, as soon as it makes a batch; nothing at the end. An error comes after the rows before it.
func (q *queue) take() ([]row, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.ready() && !q.over && q.closed == nil {
		q.changed.Wait()
	}
	if q.closed != nil {
		return nil, q.closed
	}
	batch := q.rows
	q.rows, q.bytes = make([]row, 0, cap(batch)), 0
	q.changed.Broadcast()
	if len(batch) == 0 {
		return nil, q.err
	}
	return batch, nil
}
