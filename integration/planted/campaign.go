package planted

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// TestBinary compiles the tests of a package of this module with a defect in
// the product; nil is the product as it is.
func TestBinary(root, dir, pkg string, d *Defect) (string, error) {
	path := filepath.Join(dir, "none.test")
	args := []string{"test", "-c"}
	if d != nil {
		overlay, err := d.Overlay(root, dir)
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, d.Name+".test")
		args = append(args, "-overlay", overlay)
	}
	return path, run(root, append(args, "-o", path, pkg))
}

func run(root string, args []string) error {
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// Stuck stands for what no rule of the checker says: requests that have no
// outcome long after every fault has ended.
const Stuck = "not done"

var (
	stuck       = regexp.MustCompile(Stuck + ` \S+ after everything was mended`)
	rulesBroken = regexp.MustCompile(`rules broken: ((?:[a-z ]+ \d+ times, )+)`)
	ruleBroken  = regexp.MustCompile(`([a-z ]+?) \d+ times, `)
)

// Broken lists the rules that the output of a campaign calls broken.
func Broken(output string) []string {
	var rules []string
	if stuck.MatchString(output) {
		rules = append(rules, Stuck)
	}
	for _, report := range rulesBroken.FindAllStringSubmatch(output, -1) {
		for _, rule := range ruleBroken.FindAllStringSubmatch(report[1], -1) {
			rules = append(rules, strings.TrimSpace(rule[1]))
		}
	}
	return rules
}

// Caught tells which rule that the defect must break is among the broken ones;
// empty if none is, or if there is no defect.
func (d *Defect) Caught(broken []string) string {
	if d == nil {
		return ""
	}
	for _, rule := range d.Rules {
		if slices.Contains(broken, rule) {
			return rule
		}
	}
	return ""
}
