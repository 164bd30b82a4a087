package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// consoleWriter shows log lines to a person: time, level, what happened and
// why, and then the fields, those that say what it is about first. What only a
// machine reads stands in the JSON format alone.
func consoleWriter(out io.Writer, terminal bool, env environment) io.Writer {
	colour := terminal && wantsColour(env)
	if terminal {
		out = overBar{out}
	}
	return zerolog.ConsoleWriter{
		Out: out, NoColor: !colour, TimeFormat: time.TimeOnly, FormatPrepare: forReaders,
		FieldsOrder: []string{"partition", "offset", "subAccountId", "umid", "batchId", "requestId", "attempt", "status", "reason", "kind", "httpStatus", "errorId"},
		FieldsExclude: []string{
			"instance",                                             // there is one on a console
			"producerId", "epoch", "fencedAt", "lease", "metadata", // what tells owners of a partition apart afterwards
		},
	}
}

// wantsColour follows no-color.org.
func wantsColour(env environment) bool {
	without, _ := env.lookup("NO_COLOR")
	kind, _ := env.lookup("TERM")
	return without == "" && kind != "dumb"
}

// overBar puts lines in the place of a progress bar, which is drawn anew below.
type overBar struct{ io.Writer }

// Write implements io.Writer.
func (b overBar) Write(line []byte) (int, error) {
	const toTheStart, clearLine = "\r", "\x1b[K"
	if _, err := io.WriteString(b.Writer, toTheStart+clearLine); err != nil {
		return 0, err
	}
	return b.Writer.Write(line)
}

// messageWidth is where the fields begin, so that they stand in a column.
const messageWidth = 28

// forReaders turns the fields of a line into what a reader wants of them.
func forReaders(line map[string]any) error {
	flatten(line)
	if topic, ok := line["topic"]; ok && line["partition"] != nil {
		line["partition"] = fmt.Sprintf("%v/%v", topic, line["partition"])
		delete(line, "topic")
	}
	if line["requestId"] == fmt.Sprintf("%v/%v", line["partition"], line["offset"]) {
		delete(line, "requestId") // the default, which says it again
	}
	if took, ok := line["took"].(json.Number); ok {
		ms, _ := took.Float64()
		line["took"] = fmt.Sprintf("%.1fms", ms)
		if ms >= 1000 {
			line["took"] = fmt.Sprintf("%.2fs", ms/1000)
		}
	}
	text := fmt.Sprint(line[zerolog.MessageFieldName])
	if why, ok := line[zerolog.ErrorFieldName].(string); ok {
		text += ": " + oneLine(inPlainWords(why))
		delete(line, zerolog.ErrorFieldName)
	}
	line[zerolog.MessageFieldName] = fmt.Sprintf("%-*s", messageWidth, text)
	return nil
}

// flatten has no value left that would be shown as JSON, and none that is empty.
func flatten(line map[string]any) {
	for name, value := range line {
		switch v := value.(type) {
		case string:
			if v == "" {
				delete(line, name)
			}
		case map[string]any:
			delete(line, name)
			flatten(v)
			for inner, value := range v {
				line[name+"."+inner] = value
			}
		case []any:
			items := make([]string, len(v))
			for i, item := range v {
				items[i] = fmt.Sprint(item)
			}
			line[name] = strings.Join(items, ",")
		}
	}
}
