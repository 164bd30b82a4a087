package scan

import (
	"container/heap"
	"context"
	"sync"

	"smscancel/consumer/records"
)

// item is a decoded record and its time, in Unix milliseconds.
type item[T any] struct {
	at    int64
	value T
}

// Read decodes the records of a topic and visits them, until visit returns
// false. Decoding is done for several partitions at once, and in the order of
// each; what it does not want (false) is not visited. Visits are made one at a
// time: up to the ends in the order of the records' times, as far as each
// partition keeps that order, and behind them as they come.
//
// A record shares its memory with others that were fetched with it.
func Read[T any](ctx context.Context, t *Topic, decode func(partition int, rec *records.Record) (T, bool), visit func(T) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	r := &reading[T]{Topic: t, decode: decode, cancel: cancel, slots: make(chan struct{}, maxFetches), live: make(chan []item[T])}
	var readers sync.WaitGroup
	defer readers.Wait()
	defer cancel(nil)
	for i := range t.Parts {
		p := &partition[T]{reading: r, Part: t.Parts[i], chunks: make(chan []item[T], 1)}
		r.partitions = append(r.partitions, p)
		readers.Go(func() { p.run(ctx) })
	}
	more, err := r.visitInOrder(ctx, visit)
	if err != nil || !more || !t.Follow {
		return err
	}
	return r.visitLive(ctx, visit)
}

// reading is one Read.
type reading[T any] struct {
	*Topic
	decode     func(partition int, rec *records.Record) (T, bool)
	cancel     context.CancelCauseFunc
	slots      chan struct{}  // one for each fetch under way, up to the ends
	live       chan []item[T] // what came behind the ends
	partitions []*partition[T]
}

// visitInOrder visits what stands in the topic up to the ends.
func (r *reading[T]) visitInOrder(ctx context.Context, visit func(T) bool) (more bool, err error) {
	var heads merge[T]
	for _, p := range r.partitions {
		if err := heads.add(ctx, p); err != nil {
			return false, err
		}
	}
	heap.Init(&heads)
	for len(heads) > 0 {
		head := heads[0]
		if !visit(head.items[0].value) {
			return false, nil
		}
		if head.items = head.items[1:]; len(head.items) == 0 {
			var open bool
			if head.items, open, err = receive(ctx, head.from.chunks); err != nil {
				return false, err
			}
			if !open {
				heap.Pop(&heads)
				continue
			}
		}
		heap.Fix(&heads, 0)
	}
	return true, context.Cause(ctx)
}

func (r *reading[T]) visitLive(ctx context.Context, visit func(T) bool) error {
	for {
		items, _, err := receive(ctx, r.live)
		if err != nil {
			return err
		}
		for _, it := range items {
			if !visit(it.value) {
				return nil
			}
		}
	}
}

// receive is a receive that ends with the context.
func receive[V any](ctx context.Context, from <-chan V) (v V, open bool, err error) {
	select {
	case v, open = <-from:
		return v, open, nil
	case <-ctx.Done():
		return v, false, context.Cause(ctx)
	}
}

// head is what is next of a partition. It has at least one item.
type head[T any] struct {
	from  *partition[T]
	items []item[T]
}

// merge is a heap of the partitions that have more, by the time of the next.
type merge[T any] []*head[T]

func (m *merge[T]) add(ctx context.Context, p *partition[T]) error {
	items, open, err := receive(ctx, p.chunks)
	if open {
		*m = append(*m, &head[T]{p, items})
	}
	return err
}

func (m merge[T]) Len() int { return len(m) }
func (m merge[T]) Less(i, j int) bool {
	if a, b := m[i].items[0].at, m[j].items[0].at; a != b {
		return a < b
	}
	return m[i].from.Partition < m[j].from.Partition
}
func (m merge[T]) Swap(i, j int) { m[i], m[j] = m[j], m[i] }
func (m *merge[T]) Push(x any)   { *m = append(*m, x.(*head[T])) }
func (m *merge[T]) Pop() any {
	last := (*m)[len(*m)-1]
	*m = (*m)[:len(*m)-1]
	return last
}
