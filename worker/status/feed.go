package status

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	feedInterval = time.Second
	feedPatience = 10 * time.Second // for a client that does not read
	maxReaders   = 64
)

// feed tells every open page the whole status, once a second: a page that was
// away is right again with the next event. One snapshot serves all of them, and
// a slow page misses events, not the newest one.
type feed struct {
	snapshot func() Status

	mu      sync.Mutex
	readers map[chan []byte]struct{}
	stop    context.CancelFunc // of the ticking, while there are readers
}

func (f *feed) serve(w http.ResponseWriter, r *http.Request) {
	events, ok := f.join()
	if !ok {
		w.Header().Set("Retry-After", "10")
		http.Error(w, fmt.Sprintf("%d pages are open already", maxReaders), http.StatusServiceUnavailable)
		return
	}
	defer f.leave(events)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy that collects shows nothing
	out := http.NewResponseController(w)
	for event := f.event(); ; {
		_ = out.SetWriteDeadline(time.Now().Add(feedPatience))
		if _, err := fmt.Fprintf(w, "retry: 2000\ndata: %s\n\n", event); err != nil || out.Flush() != nil {
			return
		}
		select {
		case event = <-events:
		case <-r.Context().Done():
			return
		}
	}
}

// event is the status on one line.
func (f *feed) event() []byte {
	line, err := json.Marshal(f.snapshot())
	if err != nil {
		return []byte("null") // it holds nothing that cannot be written
	}
	return line
}

func (f *feed) join() (chan []byte, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.readers) >= maxReaders {
		return nil, false
	}
	if f.readers == nil {
		f.readers = map[chan []byte]struct{}{}
	}
	events := make(chan []byte, 1)
	f.readers[events] = struct{}{}
	if len(f.readers) == 1 {
		var ctx context.Context
		ctx, f.stop = context.WithCancel(context.Background())
		go f.tick(ctx)
	}
	return events, true
}

func (f *feed) leave(events chan []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.readers, events)
	if len(f.readers) == 0 {
		f.stop()
	}
}

func (f *feed) tick(ctx context.Context) {
	ticker := time.NewTicker(feedInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			f.tell(f.event())
		case <-ctx.Done():
			return
		}
	}
}

func (f *feed) tell(event []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for events := range f.readers {
		select {
		case <-events: // what a slow page has not taken is old now
		default:
		}
		events <- event
	}
}
