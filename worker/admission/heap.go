package admission

import "container/heap"

// heapOf keeps items by an order, and lets any of them be taken out again: each
// item remembers its own index, -1 while it is in no heap.
type heapOf[T comparable] struct{ items items[T] }

func newHeap[T comparable](less func(x, y T) bool, index func(T) *int) heapOf[T] {
	return heapOf[T]{items[T]{less: less, index: index}}
}

func (h *heapOf[T]) len() int { return len(h.items.all) }

func (h *heapOf[T]) add(x T) { heap.Push(&h.items, x) }

// first is the least item, zero if there is none.
func (h *heapOf[T]) first() (x T) {
	if h.len() > 0 {
		x = h.items.all[0]
	}
	return x
}

func (h *heapOf[T]) pop() T { return heap.Pop(&h.items).(T) }

func (h *heapOf[T]) has(x T) bool {
	i := *h.items.index(x)
	return i >= 0 && i < h.len() && h.items.all[i] == x
}

// remove takes x out if it is in this heap.
func (h *heapOf[T]) remove(x T) {
	if h.has(x) {
		heap.Remove(&h.items, *h.items.index(x))
	}
}

// moved restores the order after what x is sorted by has changed.
func (h *heapOf[T]) moved(x T) { heap.Fix(&h.items, *h.items.index(x)) }

// items implements heap.Interface.
type items[T comparable] struct {
	all   []T
	less  func(x, y T) bool
	index func(T) *int
}

func (s *items[T]) Len() int           { return len(s.all) }
func (s *items[T]) Less(i, j int) bool { return s.less(s.all[i], s.all[j]) }

func (s *items[T]) Swap(i, j int) {
	s.all[i], s.all[j] = s.all[j], s.all[i]
	*s.index(s.all[i]), *s.index(s.all[j]) = i, j
}

func (s *items[T]) Push(x any) {
	*s.index(x.(T)) = len(s.all)
	s.all = append(s.all, x.(T))
}

func (s *items[T]) Pop() any {
	last := len(s.all) - 1
	x := s.all[last]
	var none T
	s.all[last] = none
	s.all = s.all[:last]
	*s.index(x) = -1
	return x
}
