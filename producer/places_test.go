package producer

import "testing"

func TestPlacesCountEachRequestOnceAndNoOthers(t *testing.T) {
	var p Places
	p.Add(Span{0, 300, 500}, Span{0, 100, 200}, Span{2, 0, 1})
	p.Add(Span{0, 200, 201})
	settled := 0
	for range 2 { // the second time nobody waits any more
		for partition := range 4 {
			for offset := range int64(600) {
				if p.Settle(partition, offset) {
					settled++
					inside := partition == 0 && (offset >= 100 && offset <= 200 || offset >= 300 && offset < 500) || partition == 2 && offset == 0
					if !inside {
						t.Errorf("%d/%d was never noted", partition, offset)
					}
				}
			}
		}
	}
	if settled != 302 || p.Total() != 302 || p.Left() != 0 {
		t.Errorf("%d settled, %d in all, %d left; want 302, 302, 0", settled, p.Total(), p.Left())
	}
}
