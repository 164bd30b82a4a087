package records

import "sync"

// Memory is what pages are read into, one after another. Whoever reads a log in
// large steps, and keeps nothing of it, spares the system to clear as much anew
// for each. It is safe for concurrent use.
type Memory struct {
	mu   sync.Mutex
	free [][]byte
}

const memoryGrain = 1 << 20 // answers to the same question differ a little in length

// take returns n bytes of any content. An exchange that was given up keeps what
// it has taken: it may still be writing.
func (m *Memory) take(n int) []byte {
	if m == nil {
		return make([]byte, n)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, b := range m.free {
		if cap(b) >= n {
			m.free[i] = m.free[len(m.free)-1]
			m.free = m.free[:len(m.free)-1]
			return b[:n]
		}
	}
	m.free = nil // too small from now on
	return make([]byte, n, (n+memoryGrain-1)/memoryGrain*memoryGrain)
}

func (m *Memory) give(b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.free = append(m.free, b)
}

// Release gives the page's memory back to where it came from, if that was a
// [Memory]. Neither the page nor anything of its records may be used after it.
func (p *Page) Release() {
	if p.memory == nil {
		return
	}
	p.memory.give(p.body)
	p.raw, p.body, p.memory = nil, nil, nil
}
