package status

import (
	"embed"
	"net/http"
	"strings"
)

// The page of an operator: no asset from elsewhere, no inline script or style.
//
//go:embed page
var page embed.FS

// servePage answers / and the files that it names.
func servePage(mux *http.ServeMux) {
	for path, file := range map[string]string{"GET /{$}": "index.html", "GET /page.css": "page.css", "GET /page.js": "page.js"} {
		content, err := page.ReadFile("page/" + file)
		if err != nil {
			panic(err) // it is part of the binary
		}
		kind := map[string]string{"html": "text/html", "css": "text/css", "js": "text/javascript"}[file[strings.LastIndexByte(file, '.')+1:]]
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind+"; charset=utf-8")
			_, _ = w.Write(content)
		})
	}
}
