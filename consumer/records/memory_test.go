package records

import (
	"bytes"
	"testing"
)

// Promises: a page keeps its memory until it is released, whatever is fetched
// meanwhile, and the next page gets the released one's.
func TestAPageKeepsItsMemoryUntilItIsReleased(t *testing.T) {
	body := responseOf(11, "t", 0, partitionResponse{highWatermark: 8, batches: ledgerPage(t, 8, 4)})
	memory := new(Memory)
	fetch := func() *Page {
		x := exchangeFor(FetchRequest{Topic: "t", Memory: memory}, 11)
		res, err := x.RawExchange(&wire{answer: answer(uint32(len(body)+4), correlationID, body)})
		if err != nil {
			t.Fatal(err)
		}
		page, err := res.(*response).page(FetchRequest{Topic: "t", Memory: memory})
		if err != nil {
			t.Fatal(err)
		}
		return page
	}
	first, second := fetch(), fetch()
	before := bytes.Clone(first.raw)
	if &first.body[0] == &second.body[0] {
		t.Fatal("two pages share their memory")
	}
	clear(second.body)
	if drain(first) != 8 || !bytes.Equal(first.raw, before) {
		t.Error("the page changed with the next one")
	}
	held := &first.body[0]
	first.Release()
	first.Release() // harmless
	if third := fetch(); &third.body[0] != held || drain(third) != 8 {
		t.Error("a released page's memory is not used again")
	}
	if fourth := fetch(); &fourth.body[0] == held {
		t.Error("memory was given out twice")
	}
}
