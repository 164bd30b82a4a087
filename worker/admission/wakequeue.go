package admission

import (
	"container/heap"
	"time"
)

// wakeQueue holds sub-accounts by the time at which they want attention. A
// sub-account is in one at most.
type wakeQueue struct{ heap wakeHeap }

// Len is how many sub-accounts it holds.
func (q *wakeQueue) Len() int { return len(q.heap) }

func (q *wakeQueue) push(s *subAccount, at time.Time) {
	s.wakeAt = at
	heap.Push(&q.heap, s)
}

func (q *wakeQueue) pop() *subAccount { return heap.Pop(&q.heap).(*subAccount) }

// remove takes s out if it is in this queue.
func (q *wakeQueue) remove(s *subAccount) {
	if s.index >= 0 && s.index < len(q.heap) && q.heap[s.index] == s {
		heap.Remove(&q.heap, s.index)
	}
}

// next is the earliest time, zero if the queue is empty.
func (q *wakeQueue) next() time.Time {
	if len(q.heap) == 0 {
		return time.Time{}
	}
	return q.heap[0].wakeAt
}

func (q *wakeQueue) due(now time.Time) bool {
	return len(q.heap) > 0 && !q.heap[0].wakeAt.After(now)
}

// wakeHeap implements heap.Interface.
type wakeHeap []*subAccount

func (h wakeHeap) Len() int           { return len(h) }
func (h wakeHeap) Less(i, j int) bool { return h[i].wakeAt.Before(h[j].wakeAt) }

func (h wakeHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *wakeHeap) Push(x any) {
	s := x.(*subAccount)
	s.index = len(*h)
	*h = append(*h, s)
}

func (h *wakeHeap) Pop() any {
	last := len(*h) - 1
	s := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	s.index = -1
	return s
}
