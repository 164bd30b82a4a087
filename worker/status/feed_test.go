package status

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Promise: a page hears the whole status at once and then each second; one
// snapshot serves all pages; when the last has gone nothing is asked any more.
func TestEventsAreTheWholeStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		f := &feed{snapshot: func() Status {
			return Status{Instance: "here\n\ndata: forged", Generation: asked.Add(1)}
		}}
		ctx, close := context.WithCancel(t.Context())
		var pages []*httptest.ResponseRecorder
		for range 3 {
			pages = append(pages, open(ctx, f))
			synctest.Wait()
		}
		time.Sleep(2500 * time.Millisecond)
		close()
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := asked.Load(); n != 3+2 {
			t.Errorf("%d snapshots, want one for each page and one for each second", n)
		}
		for i, page := range pages {
			got := generations(t, page.Body.String())
			if want := []int32{int32(i) + 1, 4, 5}; len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
				t.Errorf("page %d heard %v, want %v", i, got, want)
			}
		}
	})
}

// Promise: the 65th page is refused and told to come again; when one has gone
// there is room.
func TestTooManyPagesAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &feed{snapshot: func() Status { return Status{} }}
		ctx, close := context.WithCancel(t.Context())
		one, leave := context.WithCancel(ctx)
		for i := range maxReaders {
			if i == 0 {
				open(one, f)
			} else {
				open(ctx, f)
			}
		}
		synctest.Wait()
		refused := open(ctx, f)
		synctest.Wait()
		if refused.Code != http.StatusServiceUnavailable || refused.Header().Get("Retry-After") == "" {
			t.Errorf("one more: %d, %v", refused.Code, refused.Header())
		}
		leave()
		synctest.Wait()
		again := open(ctx, f)
		synctest.Wait()
		if again.Code != http.StatusOK || again.Body.Len() == 0 {
			t.Errorf("after one has left: %d, %q", again.Code, again.Body)
		}
		close()
		synctest.Wait()
	})
}

// open is a page that stays until ctx ends.
func open(ctx context.Context, f *feed) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	go f.serve(w, httptest.NewRequestWithContext(ctx, "GET", "/api/events", nil))
	return w
}

func generations(t *testing.T, stream string) (heard []int32) {
	for event := range strings.SplitSeq(strings.TrimSuffix(stream, "\n\n"), "\n\n") {
		var s Status
		_, data, _ := strings.Cut(event, "\ndata: ")
		if err := json.Unmarshal([]byte(data), &s); err != nil || s.Instance != "here\n\ndata: forged" {
			t.Errorf("%v: %q", err, event)
		}
		heard = append(heard, s.Generation)
	}
	return heard
}
