// Package planted makes builds of the product with one deliberate defect each,
// so that a test can show that the campaign would notice it.
//
// A defect is a patch in integration/testdata/planted. It reaches the compiler
// as an overlay (go build -overlay): no source is changed, and the product
// holds no switch. Its callers are the tests here and in integration.
package planted

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/bluekeyes/go-gitdiff/gitdiff"
)

// Where a defect shows.
const (
	Embedded = "embedded" // in the random schedules on the embedded broker
	Kafka    = "kafka"    // on real Kafka only: the embedded broker hides it
)

const folder = "integration/testdata/planted"

// Defect is one patch with its head, which is made of lines "Name: text".
type Defect struct {
	Name      string   // of the file, without .patch
	Breaks    string   // what is broken
	Guarantee string   // which guarantee
	Shows     string   // where it must show
	Rules     []string // of the checker, one of which must be violated
	Seed      uint64   // of a schedule that has shown it; 0 = none is known

	path  string
	files []*gitdiff.File
}

// All reads every patch of the module at root.
func All(root string) ([]*Defect, error) {
	paths, err := filepath.Glob(filepath.Join(root, folder, "*.patch"))
	if err != nil {
		return nil, err
	}
	defects := make([]*Defect, len(paths))
	for i, path := range paths {
		if defects[i], err = read(path); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
	}
	return defects, nil
}

func read(path string) (*Defect, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	files, head, err := gitdiff.Parse(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	d := &Defect{Name: strings.TrimSuffix(filepath.Base(path), ".patch"), path: path, files: files}
	return d, d.readHead(head)
}

func (d *Defect) readHead(head string) error {
	var rules string
	seed := "0"
	fields := map[string]*string{"Breaks": &d.Breaks, "Guarantee": &d.Guarantee, "Shows": &d.Shows, "Rules": &rules, "Seed": &seed}
	for line := range strings.Lines(strings.TrimSpace(head)) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), ": ")
		field, known := fields[name]
		if !known {
			return fmt.Errorf("the head has a line that is none of Breaks, Guarantee, Shows, Rules, Seed: %q", line)
		}
		*field = text
	}
	d.Rules = strings.Split(rules, ", ")
	for name, field := range fields {
		if *field == "" {
			return fmt.Errorf("the head has no %s", name)
		}
	}
	if d.Shows != Embedded && d.Shows != Kafka {
		return fmt.Errorf("it shows on %q, must be %s or %s", d.Shows, Embedded, Kafka)
	}
	if len(d.files) == 0 {
		return fmt.Errorf("the patch changes nothing")
	}
	var err error
	d.Seed, err = strconv.ParseUint(seed, 10, 64)
	return err
}

var seedLine = regexp.MustCompile(`(?m)\n(Seed: .*\n)?\n?diff --git `)

// KeepSeed writes into the patch which schedule has shown the defect.
func (d *Defect) KeepSeed(seed uint64) error {
	text, err := os.ReadFile(d.path)
	if err != nil {
		return err
	}
	at := seedLine.FindIndex(text)
	if at == nil {
		return fmt.Errorf("%s has no head", d.path)
	}
	head := fmt.Appendf(text[:at[0]:at[0]], "\nSeed: %d\n\ndiff --git ", seed)
	return os.WriteFile(d.path, append(head, text[at[1]:]...), 0o644)
}
