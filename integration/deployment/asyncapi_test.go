package deployment

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"
)

const schemas = "../../deploy/schemas/"

// Promise: the AsyncAPI document is one, by the schema that its makers publish
// (github.com/asyncapi/spec-json-schemas, Apache 2.0), and all it refers to exists.
func TestTheAsyncAPIDocumentIsValid(t *testing.T) {
	document := asyncAPI(t)
	packed, err := os.Open("testdata/asyncapi-3.0.0.schema.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	text, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := jsonschema.UnmarshalJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("asyncapi.json", schema); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("asyncapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := compiled.Validate(document); err != nil {
		t.Error(err)
	}
	refs := references(document)
	if len(refs) < 10 {
		t.Errorf("only %d references are found", len(refs))
	}
	for _, ref := range refs {
		resolve(t, document, ref)
	}
}

// asyncAPI is the document as plain JSON values.
func asyncAPI(t *testing.T) any {
	text, err := yaml.YAMLToJSONStrict([]byte(read(t, schemas+"asyncapi.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	var document any
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	return document
}

func references(v any) (refs []string) {
	switch v := v.(type) {
	case map[string]any:
		for key, member := range v {
			if ref, ok := member.(string); ok && key == "$ref" {
				refs = append(refs, ref)
			}
			refs = append(refs, references(member)...)
		}
	case []any:
		for _, member := range v {
			refs = append(refs, references(member)...)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(refs)))
}

// resolve follows a reference within the document, or to a schema beside it.
func resolve(t *testing.T, document any, ref string) any {
	t.Helper()
	path, inside := strings.CutPrefix(ref, "#/")
	if !inside {
		if _, err := jsonschema.NewCompiler().Compile(filepath.Join(schemas, ref)); err != nil {
			t.Errorf("%s: %v", ref, err)
		}
		return nil
	}
	at := document
	for name := range strings.SplitSeq(path, "/") {
		object, _ := at.(map[string]any)
		if at = object[name]; at == nil {
			t.Fatalf("%s leads nowhere", ref)
		}
	}
	return at
}

// headerSchema compiles what the document says of a message's headers.
func headerSchema(t *testing.T, message string) *jsonschema.Schema {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource("headers.json", resolve(t, asyncAPI(t), "#/components/messages/"+message+"/headers")); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("headers.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}
