package status

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Server serves the page, /api/status and /api/events, /healthz, /readyz and /metrics.
type Server struct {
	server   http.Server
	listener net.Listener
}

// Listen starts serving at addr. snapshot is asked anew for each request.
func Listen(addr string, metrics *prometheus.Registry, snapshot func() Status) (*Server, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("serve the status at %s: %w", addr, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { ready(w, snapshot()) })
	mux.HandleFunc("GET /api/status", func(w http.ResponseWriter, _ *http.Request) { write(w, snapshot()) })
	collect := promhttp.HandlerFor(metrics, promhttp.HandlerOpts{})
	pages := &feed{snapshot: snapshot}
	mux.HandleFunc("GET /api/events", pages.serve)
	servePage(mux)
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		snapshot() // refreshes the gauges that are counted when asked for
		collect.ServeHTTP(w, r)
	})
	s := &Server{listener: listener, server: http.Server{Handler: secured(mux), ReadHeaderTimeout: 5 * time.Second}}
	go s.server.Serve(listener) //nolint:errcheck // it ends with Close
	return s, nil
}

// Addr is the address it listens at.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Close stops serving.
func (s *Server) Close() error { return s.server.Close() }

func ready(w http.ResponseWriter, s Status) {
	if s.Ready {
		fmt.Fprintln(w, "ready")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	fmt.Fprintln(w, s.Reason)
}

func write(w http.ResponseWriter, s Status) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.Encode(s) //nolint:errcheck // the client went away
}

func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}
