package planted

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bluekeyes/go-gitdiff/gitdiff"
)

// Root is the folder of this module.
func Root() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// Overlay applies the patch to the sources at root, writes what comes out into
// dir, and returns the file for go build -overlay. The sources stay as they are.
func (d *Defect) Overlay(root, dir string) (string, error) {
	patched, err := d.patch(root)
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for path, content := range patched {
		replace[path] = filepath.Join(dir, fmt.Sprintf("%s-%d.go", d.Name, len(replace)))
		if err := os.WriteFile(replace[path], content, 0o600); err != nil {
			return "", err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, d.Name+".json")
	return path, os.WriteFile(path, overlay, 0o600)
}

// patch gives the changed files as they are with the defect.
func (d *Defect) patch(root string) (map[string][]byte, error) {
	patched := map[string][]byte{}
	for _, f := range d.files {
		path := filepath.Join(root, filepath.FromSlash(f.OldName))
		source, err := os.ReadFile(path)
		if err != nil {
			return nil, d.stale(f, err)
		}
		var with bytes.Buffer
		if err := apply(&with, source, f); err != nil {
			return nil, d.stale(f, err)
		}
		patched[path] = with.Bytes()
	}
	return patched, nil
}

// stale says what to do about a patch that the sources have outgrown.
func (d *Defect) stale(f *gitdiff.File, err error) error {
	return fmt.Errorf("the planted defect %s does not apply to %s any more: %w: "+
		"make %s/%s.patch anew, so that it breaks the same promise", d.Name, f.OldName, err, folder, d.Name)
}

// apply is strict about lines and lenient about line numbers: the lines that a
// fragment takes for given must stand in the source once, wherever that is.
func apply(to *bytes.Buffer, source []byte, f *gitdiff.File) error {
	if f.IsNew || f.IsDelete || f.IsBinary || f.OldName != f.NewName {
		return fmt.Errorf("a planted defect changes text in files that exist, nothing else")
	}
	moved := *f
	moved.TextFragments = make([]*gitdiff.TextFragment, len(f.TextFragments))
	for i, fragment := range f.TextFragments {
		line, err := find(source, fragment)
		if err != nil {
			return err
		}
		there := *fragment
		there.OldPosition = line
		moved.TextFragments[i] = &there
	}
	return gitdiff.Apply(to, bytes.NewReader(source), &moved)
}

// find is the line number, from 1, at which a fragment's old lines stand.
func find(source []byte, fragment *gitdiff.TextFragment) (int64, error) {
	var old strings.Builder
	for _, l := range fragment.Lines {
		if l.Old() {
			old.WriteString(l.Line)
		}
	}
	text := "\n" + string(source) // so that every line follows a line break
	switch at := strings.Index(text, "\n"+old.String()); {
	case at < 0:
		return 0, fmt.Errorf("the lines of fragment %q are not in it", fragment.Header())
	case strings.Contains(text[at+1:], "\n"+old.String()):
		return 0, fmt.Errorf("the lines of fragment %q are in it more than once", fragment.Header())
	default:
		return int64(strings.Count(text[:at+1], "\n")), nil
	}
}
