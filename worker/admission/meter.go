package admission

import "time"

// meter counts calls by the second.
type meter struct {
	second        time.Time // when the present one began
	count, before int
}

func (m *meter) roll(now time.Time) {
	switch d := now.Sub(m.second); {
	case d >= 2*time.Second:
		m.second, m.count, m.before = now, 0, 0
	case d >= time.Second:
		m.second, m.count, m.before = m.second.Add(time.Second), 0, m.count
	}
}

func (m *meter) add(now time.Time) {
	m.roll(now)
	m.count++
}

// rate is the calls per second: those of the last whole second, or of this one
// if they are more already.
func (m *meter) rate(now time.Time) float64 {
	m.roll(now)
	return float64(max(m.count, m.before))
}
