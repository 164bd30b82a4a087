package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"go.yaml.in/yaml/v3"
)

const adminHelp = `GET  /admin/summary               totals of all calls
GET  /admin/calls?id=&after=      every call, one JSON object a line; after = a sequence
GET  /admin/messages?id=          messages and batches heard of, one JSON object a line
GET  /admin/faults                the faults in force, YAML
PUT  /admin/faults                replaces them; YAML or JSON
POST /admin/scenario              declares messages, batches, sub-accounts; YAML or JSON
POST /admin/reset                 everything as at the start
`

func (s *Simulator) newAdmin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /admin/{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, adminHelp) })
	mux.HandleFunc("GET /admin/summary", s.getSummary)
	mux.HandleFunc("GET /admin/calls", s.getCalls)
	mux.HandleFunc("GET /admin/messages", s.getMessages)
	mux.HandleFunc("GET /admin/faults", s.getFaults)
	mux.HandleFunc("PUT /admin/faults", s.putFaults)
	mux.HandleFunc("POST /admin/scenario", s.postScenario)
	mux.HandleFunc("POST /admin/reset", s.postReset)
	return mux
}

func (s *Simulator) getSummary(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	writeLine(json.NewEncoder(w), s.Summary())
}

// getCalls copies page by page, so that a long ledger is not locked for long.
func (s *Simulator) getCalls(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	var after int64
	if text := query.Get("after"); text != "" {
		var err error
		if after, err = strconv.ParseInt(text, 10, 64); err != nil {
			http.Error(w, fmt.Sprintf("after is %q, must be a sequence", text), http.StatusBadRequest)
			return
		}
	}
	ledger := s.world.Load().ledger
	lines := ndjson(w)
	if id := query.Get("id"); id != "" {
		for _, call := range ledger.of(id) {
			if call.Sequence > after {
				writeLine(lines, call)
			}
		}
		return
	}
	const page = 1000
	for calls := ledger.after(after, page); len(calls) > 0; calls = ledger.after(after, page) {
		for _, call := range calls {
			writeLine(lines, call)
		}
		after = calls[len(calls)-1].Sequence
	}
}

func (s *Simulator) getMessages(w http.ResponseWriter, r *http.Request) {
	memory := s.world.Load().messages
	lines := ndjson(w)
	id := r.URL.Query().Get("id")
	if id == "" {
		for _, m := range memory.list() {
			writeLine(lines, m)
		}
		return
	}
	for _, batch := range []bool{false, true} {
		if m, known := memory.lookup(newMessageKey(id, batch)); known {
			writeLine(lines, m)
		}
	}
}

func (s *Simulator) getFaults(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_ = yaml.NewEncoder(w).Encode(s.Faults()) // fails only if the client left
}

func (s *Simulator) putFaults(w http.ResponseWriter, r *http.Request) {
	faults, err := ParseFaults(r.Body)
	if err == nil {
		err = s.SetFaults(faults)
	}
	answerAdmin(w, err)
}

func (s *Simulator) postScenario(w http.ResponseWriter, r *http.Request) {
	scenario, err := ParseScenario(r.Body)
	if err == nil {
		err = s.Declare(*scenario)
	}
	answerAdmin(w, err)
}

func (s *Simulator) postReset(w http.ResponseWriter, _ *http.Request) { answerAdmin(w, s.Reset()) }

func answerAdmin(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func ndjson(w http.ResponseWriter) *json.Encoder {
	w.Header().Set("Content-Type", "application/x-ndjson")
	return json.NewEncoder(w)
}

// writeLine ignores errors: they mean that the client left.
func writeLine(lines *json.Encoder, v any) { _ = lines.Encode(v) }
