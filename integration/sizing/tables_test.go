package sizing

import (
	"os"
	"strings"
	"testing"
)

// The tables of the page are those that the model computes.
func TestThePageSaysWhatTheModelComputes(t *testing.T) {
	page, err := os.ReadFile("../../deploy/sizing.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range Tables() {
		_, rest, found := strings.Cut(string(page), "<!-- "+name+" -->\n")
		if !found || !strings.HasPrefix(rest, want) {
			t.Errorf("behind <!-- %s --> must stand:\n%s", name, want)
		}
	}
}
