package worker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// members keeps book of the known members of one JSON object, by number, and of
// the first thing that is wrong with them.
type members struct {
	seen, given, twice uint16
	fault              *Rejection
}

// admit tells whether a known member has a value to be read: it stands there
// for the first time and is not null, which is as good as absent.
func (m *members) admit(number int, name []byte, v jsontext.Value) bool {
	bit := uint16(1) << number
	if m.seen&bit != 0 {
		m.twice |= bit
		m.reject(string(name), "stands twice")
		return false
	}
	m.seen |= bit
	if v.Kind() == jsontext.KindNull {
		return false
	}
	m.given |= bit
	return true
}

func (m *members) isSeen(number int) bool  { return m.seen&(1<<number) != 0 }
func (m *members) isGiven(number int) bool { return m.given&(1<<number) != 0 }
func (m *members) isTwice(number int) bool { return m.twice&(1<<number) != 0 }

// reject remembers the first fault.
func (m *members) reject(field, reason string) {
	if m.fault == nil {
		m.fault = &Rejection{Field: field, Reason: reason}
	}
}

// objectReader is a JSON decoder that reads from memory.
type objectReader struct {
	buffer  bytes.Buffer
	decoder jsontext.Decoder
	name    []byte // of the member at hand, unescaped
}

var objectReaders = sync.Pool{New: func() any { return new(objectReader) }}

// A name that stands twice concerns us only if we know it; and the decoder need
// not keep the names of a hostile object.
var decodeOptions = []jsontext.Options{jsontext.AllowDuplicateNames(true)}

// eachMember calls visit for each member of the JSON object in text, with the
// name unescaped and the value as it stands; both are valid during the call
// only. It returns what is wrong with the text, or "". Nesting is bounded by
// the decoder, time and memory by the length of the text.
func eachMember(text []byte, visit func(name []byte, v jsontext.Value)) string {
	switch {
	case len(text) == 0:
		return "is empty"
	case bytes.HasPrefix(text, []byte("\uFEFF")):
		return "begins with a byte order mark"
	}
	r := objectReaders.Get().(*objectReader)
	defer r.release()
	r.buffer = *bytes.NewBuffer(text)
	r.decoder.Reset(&r.buffer, decodeOptions...)
	return r.object(visit)
}

// release gives the reader back without what it read.
func (r *objectReader) release() {
	r.buffer = bytes.Buffer{}
	r.decoder.Reset(&r.buffer, decodeOptions...)
	objectReaders.Put(r)
}

func (r *objectReader) object(visit func(name []byte, v jsontext.Value)) string {
	switch begin, err := r.decoder.ReadToken(); {
	case err == io.EOF:
		return "is empty"
	case err != nil:
		return notJSON(err)
	case begin.Kind() != jsontext.KindBeginObject:
		return "must be a JSON object"
	}
	for r.decoder.PeekKind() != jsontext.KindEndObject {
		quoted, err := r.decoder.ReadValue()
		if err != nil {
			return notJSON(err)
		}
		r.name = unquote(r.name[:0], quoted)
		v, err := r.decoder.ReadValue()
		if err != nil {
			return notJSON(err)
		}
		visit(r.name, v)
	}
	if _, err := r.decoder.ReadToken(); err != nil {
		return notJSON(err)
	}
	if _, err := r.decoder.ReadToken(); err != io.EOF {
		return "has trailing bytes after the JSON object"
	}
	return ""
}

// unquote appends the content of a valid JSON string to dst.
func unquote(dst []byte, quoted jsontext.Value) []byte {
	if content := quoted[1 : len(quoted)-1]; bytes.IndexByte(content, '\\') < 0 {
		return append(dst, content...)
	}
	dst, _ = jsontext.AppendUnquote(dst, quoted) // the decoder has checked it
	return dst
}

// textOf is the content of a JSON string.
func textOf(v jsontext.Value) (s, reason string) {
	if v.Kind() != jsontext.KindString {
		return "", "must be a string"
	}
	if content := v[1 : len(v)-1]; bytes.IndexByte(content, '\\') < 0 {
		return string(content), ""
	}
	return string(unquote(nil, v)), ""
}

// notJSON says where and why a text is no JSON.
func notJSON(err error) string {
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		return fmt.Sprintf("is not valid JSON: %v, after byte %d", syntax.Err, syntax.ByteOffset)
	}
	return fmt.Sprintf("is not valid JSON: %v", err)
}
