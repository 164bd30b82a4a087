package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// configFile is the YAML file of --config, key by key.
type configFile struct {
	path     string
	keys     map[string]*yaml.Node // where each key stands
	values   map[string]*yaml.Node
	mistakes usageError // of the file as such
}

// fileOnly are the keys that are no flags; see process.Config.
var fileOnly = map[string]bool{"sub-accounts": true, "paused": true, "withdrawn-campaigns": true}

// notInFile are the flags that are no keys.
var notInFile = map[string]bool{"help": true, "config": true}

// loadConfigFile reads the file that --config or SMSCANCEL_CONFIG names. What
// is wrong with it is kept in its mistakes.
func loadConfigFile(env environment) *configFile {
	f := &configFile{path: configPath(env), keys: map[string]*yaml.Node{}, values: map[string]*yaml.Node{}}
	if f.path == "" {
		return f
	}
	content, err := env.content(f.path)
	var root *yaml.Node
	if err == nil {
		root, err = document(content)
	}
	if err != nil {
		f.mistakes.want(false, "config", f.path, err.Error())
		return f
	}
	f.read(root)
	return f
}

// configPath is found before flags are parsed, since the file has their values.
// As with every flag, the last one counts.
func configPath(env environment) string {
	for i, arg := range slices.Backward(env.args) {
		if path, ok := strings.CutPrefix(arg, "--config="); ok {
			return path
		}
		if arg == "--config" && i+1 < len(env.args) && !strings.HasPrefix(env.args[i+1], "--") {
			return env.args[i+1]
		}
	}
	if path, ok := env.lookup(variable("config")); ok {
		return path
	}
	return ""
}

// maxConfigFile bounds what is read: a list of 100,000 campaigns has 13 MB at most.
const maxConfigFile = 64 << 20

// readConfigFile reads a file whole.
func readConfigFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		if path, ok := errors.AsType[*fs.PathError](err); ok {
			return nil, path.Err // it would repeat the path
		}
		return nil, err
	}
	defer file.Close()
	var content bytes.Buffer
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
		content.Grow(int(min(info.Size(), maxConfigFile)) + bytes.MinRead)
	}
	_, err = content.ReadFrom(io.LimitReader(file, maxConfigFile+1))
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, path.Err
	}
	if content.Len() > maxConfigFile {
		return nil, fmt.Errorf("it is larger than %d MiB", maxConfigFile>>20)
	}
	return content.Bytes(), err
}

// document returns the one document of the file, nil if it is empty.
func document(content []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var doc, more yaml.Node
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, err
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("it holds more than one document: a second --- would be ignored")
	}
	return doc.Content[0], nil
}

func (f *configFile) read(root *yaml.Node) {
	if root == nil || isNull(root) {
		return
	}
	if root.Kind != yaml.MappingNode {
		f.note(&f.mistakes, root.Line, "write it as lines of `key: value`")
		return
	}
	for key, value := range pairs(root) {
		if _, twice := f.keys[key.Value]; twice {
			f.note(&f.mistakes, key.Line, "%s stands twice", key.Value)
			continue
		}
		f.keys[key.Value], f.values[key.Value] = key, value
	}
}

// note adds a mistake in a line of the file.
func (f *configFile) note(mistakes *usageError, line int, format string, args ...any) {
	*mistakes = append(*mistakes, oneLine(fmt.Sprintf("--config: %s: line %d: %s", f.path, line, fmt.Sprintf(format, args...))))
}

// pairs are the keys and values of a mapping, with aliases followed.
func pairs(mapping *yaml.Node) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(key, value *yaml.Node) bool) {
		for i := 0; i+1 < len(mapping.Content); i += 2 {
			if !yield(mapping.Content[i], followed(mapping.Content[i+1])) {
				return
			}
		}
	}
}

func followed(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

// isNull tells whether a key has no value, which is as if it were not there.
func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.Tag == "!!null" }

// reportUnknown notes the keys that no command has a flag for.
func (f *configFile) reportUnknown(parsed *kong.Context, mistakes *usageError) {
	known := maps.Clone(fileOnly)
	for _, command := range parsed.Model.Children {
		for _, flag := range command.Flags {
			known[flag.Name] = !notInFile[flag.Name]
		}
	}
	for _, key := range f.inOrder() {
		if !known[key] {
			f.note(mistakes, f.keys[key].Line, "unknown key %q", key)
		}
	}
}

func (f *configFile) inOrder() []string {
	return slices.SortedFunc(maps.Keys(f.keys), func(a, b string) int {
		return f.keys[a].Line - f.keys[b].Line
	})
}

// subAccountRates reads sub-accounts.ID.rate-limit.
func (f *configFile) subAccountRates(mistakes *usageError) map[string]float64 {
	accounts, ok := f.values["sub-accounts"]
	if !ok || isNull(accounts) {
		return nil
	}
	if accounts.Kind != yaml.MappingNode {
		f.note(mistakes, accounts.Line, "sub-accounts: write ID: {rate-limit: N}")
		return nil
	}
	rates, seen := map[string]float64{}, map[string]bool{}
	for id, settings := range pairs(accounts) {
		switch {
		case seen[id.Value]:
			f.note(mistakes, id.Line, "sub-accounts.%s stands twice", id.Value)
		case !subAccountName.MatchString(id.Value):
			f.note(mistakes, id.Line, "sub-accounts: %q: %s", id.Value, subAccountRule)
		case settings.Kind != yaml.MappingNode:
			f.note(mistakes, id.Line, "sub-accounts.%s: write {rate-limit: N}", id.Value)
		default:
			f.subAccountRate(id.Value, settings, rates, mistakes)
		}
		seen[id.Value] = true
	}
	return rates
}

func (f *configFile) subAccountRate(id string, settings *yaml.Node, rates map[string]float64, mistakes *usageError) {
	for key, value := range pairs(settings) {
		rate, err := parseValue[float64](value.Value)
		_, twice := rates[id]
		switch {
		case key.Value != "rate-limit":
			f.note(mistakes, key.Line, "sub-accounts.%s: unknown key %q", id, key.Value)
		case twice:
			f.note(mistakes, key.Line, "sub-accounts.%s.rate-limit stands twice", id)
		case err != nil || rate < 0:
			f.note(mistakes, key.Line, "sub-accounts.%s.rate-limit: %q is no number of 0 or more", id, value.Value)
		default:
			rates[id] = rate
		}
	}
}

// variable is the environment variable of a flag.
func variable(flag string) string {
	return "SMSCANCEL_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// resolver gives flags that are not on the command line their value from the
// environment, else from the file. A variable that is set but empty is an empty
// value, not an absent one: --http-addr knows the difference.
type resolver struct {
	lookup func(string) (string, bool)
	file   *configFile
}

// Validate implements kong.Resolver.
func (r *resolver) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver. What cannot be a flag's value is given as
// an error in its place, for the flag to report.
func (r *resolver) Resolve(parsed *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if flag.Name == "help" {
		return nil, nil
	}
	if value, ok := r.lookup(variable(flag.Name)); ok {
		return value, nil
	}
	value, ok := r.file.values[flag.Name]
	if !ok || isNull(value) || notInFile[flag.Name] || !takesFile(parsed) {
		return nil, nil
	}
	return flagValue(value), nil
}

var errNested = errors.New("it takes a value or a list of values")

// flagValue is a value of the file as a string, a list of them, or an error.
func flagValue(node *yaml.Node) any {
	switch node.Kind {
	case yaml.ScalarNode:
		return node.Value
	case yaml.SequenceNode:
		items := []string{}
		for _, item := range node.Content {
			if item = followed(item); item.Kind != yaml.ScalarNode {
				return errNested
			}
			items = append(items, item.Value)
		}
		return items
	}
	return errNested
}
