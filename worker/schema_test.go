package worker

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

var (
	requestSchema = sync.OnceValues(func() (*jsonschema.Schema, error) { return loadSchema("cancel-request") })
	outcomeSchema = sync.OnceValues(func() (*jsonschema.Schema, error) { return loadSchema("cancel-outcome") })
)

// loadSchema compiles a published schema as the strictest reader would.
func loadSchema(name string) (*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.AssertContent()
	return c.Compile("../deploy/schemas/" + name + ".schema.json")
}

// validate checks a JSON text against a schema. A text that is not JSON is an
// error too.
func validate(t testing.TB, load func() (*jsonschema.Schema, error), text []byte) error {
	t.Helper()
	schema, err := load()
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return schema.Validate(v)
}

func TestSchemasHoldTheirOwnExamples(t *testing.T) {
	for _, load := range []func() (*jsonschema.Schema, error){requestSchema, outcomeSchema} {
		schema, err := load()
		if err != nil {
			t.Fatal(err)
		}
		if len(schema.Examples) < 3 {
			t.Errorf("%s has %d examples", schema.Location, len(schema.Examples))
		}
		for i, example := range schema.Examples {
			if err := schema.Validate(example); err != nil {
				t.Errorf("%s, example %d: %v", schema.Location, i, err)
			}
		}
	}
}

func TestParserAndRequestSchemaAgree(t *testing.T) {
	for _, c := range requestCases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parser{DefaultSubAccount: "default_sub"}.Parse(record(c.value))
			schemaErr := validate(t, requestSchema, []byte(c.value))
			if accepted, valid := err == nil, schemaErr == nil; accepted != valid && !c.beyondSchema {
				t.Errorf("parser says %v, schema says %v", err, schemaErr)
			}
		})
	}
}

func TestSchemaAndParserShareTheGrammarOfTimes(t *testing.T) {
	text, err := os.ReadFile("../deploy/schemas/cancel-request.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if pattern := strings.ReplaceAll(rfc3339.String(), `\`, `\\`); !strings.Contains(string(text), pattern) {
		t.Errorf("the schema does not have the pattern %s", pattern)
	}
}
