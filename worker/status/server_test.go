package status

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func serve(t *testing.T, snapshot func() Status) (url string) {
	s, err := Listen("127.0.0.1:0", prometheus.NewRegistry(), snapshot)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return "http://" + s.Addr()
}

func get(t *testing.T, url string) (*http.Response, string) {
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

// Promise: the page names nothing from elsewhere and runs nothing that stands in
// it; whatever is asked, the headers keep others from using it.
func TestThePageStandsAlone(t *testing.T) {
	url := serve(t, func() Status { return Status{} })
	outside := regexp.MustCompile(`(?i)https?://|//[a-z]|<script>|<style|\son\w+=|\sstyle=|innerHTML|eval\(`)
	for path, kind := range map[string]string{"/": "text/html", "/page.css": "text/css", "/page.js": "text/javascript"} {
		answer, body := get(t, url+path)
		if answer.StatusCode != 200 || !strings.HasPrefix(answer.Header.Get("Content-Type"), kind) {
			t.Errorf("%s: %s, %s", path, answer.Status, answer.Header.Get("Content-Type"))
		}
		if found := outside.FindString(body); found != "" {
			t.Errorf("%s holds %q", path, found)
		}
	}
	for _, path := range []string{"/", "/page.js", "/api/status", "/api/events", "/metrics", "/none"} {
		answer, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		h := answer.Header
		if !strings.HasPrefix(h.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'; ") || h.Get("X-Content-Type-Options") != "nosniff" ||
			h.Get("X-Frame-Options") != "DENY" || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", path, h)
		}
	}
	for _, path := range []string{"/", "/api/status", "/api/events"} {
		answer, err := http.Post(url+path, "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %s", path, answer.Status)
		}
	}
}
