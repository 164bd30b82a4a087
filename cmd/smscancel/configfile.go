package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// configFile is the YAML file of --config, key by key.
type configFile struct {
	path   string
	values map[string]fileValue
}

type fileValue struct {
	line int
	node *yaml.Node
}

// fileOnly are the keys that are no flags; see WorkerConfig.
var fileOnly = map[string]bool{"sub-accounts": true, "paused": true, "withdrawn-campaigns": true}

// loadConfigFile reads the file that --config or SMSCANCEL_CONFIG names.
func loadConfigFile(env environment, mistakes *usageError) *configFile {
	f := &configFile{path: configPath(env), values: map[string]fileValue{}}
	if f.path == "" {
		return f
	}
	if err := f.read(); err != nil {
		*mistakes = append(*mistakes, fmt.Sprintf("--config: %v", err))
	}
	return f
}

func configPath(env environment) string {
	for i, arg := range env.args {
		if path, ok := strings.CutPrefix(arg, "--config="); ok {
			return path
		}
		if arg == "--config" && i+1 < len(env.args) {
			return env.args[i+1]
		}
	}
	if path, ok := env.lookup(variable("config")); ok {
		return path
	}
	return ""
}

func (f *configFile) read() error {
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer file.Close()
	var doc yaml.Node
	if err := yaml.NewDecoder(file).Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return fmt.Errorf("%s: %w", f.path, err)
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return fmt.Errorf("%s: line %d: it must be a list of `key: value`", f.path, root.Line)
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if _, twice := f.values[key.Value]; twice {
			return fmt.Errorf("%s: line %d: %s stands twice", f.path, key.Line, key.Value)
		}
		f.values[key.Value] = fileValue{line: key.Line, node: value}
	}
	return nil
}

// text is the value of a flag's key; a list becomes a comma-separated text.
func (v fileValue) text() (string, error) {
	switch v.node.Kind {
	case yaml.ScalarNode:
		return v.node.Value, nil
	case yaml.SequenceNode:
		var items []string
		for _, item := range v.node.Content {
			items = append(items, item.Value)
		}
		return strings.Join(items, ","), nil
	}
	return "", errors.New("must be one value or a list of values")
}

// reportUnknown notes the keys that no command has a flag for.
func (f *configFile) reportUnknown(parsed *kong.Context, mistakes *usageError) {
	known := map[string]bool{}
	for _, command := range parsed.Model.Children {
		for _, group := range command.AllFlags(false) {
			for _, flag := range group {
				known[flag.Name] = true
			}
		}
	}
	for key, value := range f.values {
		if !known[key] && !fileOnly[key] {
			*mistakes = append(*mistakes, fmt.Sprintf("--config: %s: line %d: unknown key %q", f.path, value.line, key))
		}
	}
}

// variable is the environment variable of a flag.
func variable(flag string) string {
	return "SMSCANCEL_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// resolver gives flags that are not on the command line their value from the
// environment, else from the file.
type resolver struct {
	lookup func(string) (string, bool)
	file   *configFile
}

// Validate implements kong.Resolver.
func (r *resolver) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver.
func (r *resolver) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if flag.Name == "help" {
		return nil, nil
	}
	if value, ok := r.lookup(variable(flag.Name)); ok {
		return value, nil
	}
	value, ok := r.file.values[flag.Name]
	if !ok {
		return nil, nil
	}
	text, err := value.text()
	if err != nil {
		return nil, fmt.Errorf("%s: line %d: %s %w", r.file.path, value.line, flag.Name, err)
	}
	return text, nil
}
