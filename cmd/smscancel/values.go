package main

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// option is the value of a flag that may be wrong: the mistake is kept rather
// than returned, so that all of them can be reported at once.
type option[T any] struct {
	value T
	err   error
}

// Decode implements kong.MapperValue.
func (o *option[T]) Decode(ctx *kong.DecodeContext) error {
	var text string
	if text, o.err = takeText(ctx.Scan); o.err != nil {
		return nil
	}
	if o.value, o.err = parseValue[T](text); o.err != nil {
		o.err = fmt.Errorf("%q %w", text, o.err)
	}
	return nil
}

func (o *option[T]) mistake() error { return o.err }

// parseValue reads a flag's text. Its error completes the sentence that begins
// with the text.
func parseValue[T any](text string) (T, error) {
	var v T
	var err error
	switch p := any(&v).(type) {
	case *bool:
		*p, err = parseBool(text)
		err = rephrase(err, "is neither true nor false")
	case *int:
		*p, err = strconv.Atoi(text)
		err = rephrase(err, "is no whole number")
	case *float64:
		*p, err = strconv.ParseFloat(text, 64)
		if err == nil && (math.IsNaN(*p) || math.IsInf(*p, 0)) {
			err = strconv.ErrRange
		}
		err = rephrase(err, "is no number")
	case *time.Duration:
		*p, err = time.ParseDuration(text)
		err = rephrase(err, "is no duration; write it like 500ms, 10s, 15m or 24h")
	}
	return v, err
}

// parseBool also knows the yes and no of YAML's older version.
func parseBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "yes":
		return true, nil
	case "no":
		return false, nil
	}
	return strconv.ParseBool(text)
}

func rephrase(err error, text string) error {
	if err == nil {
		return nil
	}
	return errors.New(text)
}

var (
	errNoValue = errors.New("its value is missing")
	errList    = errors.New("it takes one value, not a list")
)

// takeValue takes a flag's value: a string, or a list of them from the file.
// What looks like the next flag is not taken, unless it was given with =.
func takeValue(scan *kong.Scanner) (any, error) {
	next := scan.Peek()
	if next.IsEOL() || next.InferredType() == kong.FlagToken {
		return nil, errNoValue
	}
	scan.Pop()
	if err, wrong := next.Value.(error); wrong {
		return nil, err
	}
	return next.Value, nil
}

// takeText takes the value of a flag that is no list.
func takeText(scan *kong.Scanner) (string, error) {
	value, err := takeValue(scan)
	if err != nil {
		return "", err
	}
	text, ok := value.(string)
	if !ok {
		return "", errList
	}
	return text, nil
}

// lenient reads flags of plain Go types. As with option, a mistake is kept: an
// error would end kong's parsing, and the other mistakes would stay unseen.
type lenient map[*kong.Value]error

// options make kong read strings, lists and switches with l.
func (l lenient) options() []kong.Option {
	return []kong.Option{
		kong.KindMapper(reflect.String, kong.MapperFunc(l.text)),
		kong.KindMapper(reflect.Slice, kong.MapperFunc(l.list)),
		kong.KindMapper(reflect.Bool, switches{l}),
	}
}

func (l lenient) text(ctx *kong.DecodeContext, target reflect.Value) error {
	text, err := takeText(ctx.Scan)
	l.note(ctx, err)
	target.SetString(text)
	return nil
}

// list adds to target: a list is a repeated flag, or items with commas between.
func (l lenient) list(ctx *kong.DecodeContext, target reflect.Value) error {
	value, err := takeValue(ctx.Scan)
	l.note(ctx, err)
	items, ok := value.([]string)
	if text, single := value.(string); single && !ok {
		items = []string{text}
		if ctx.Value.Tag.Sep >= 0 { // `sep:"none"` is for texts that may hold commas
			items = strings.Split(text, ",")
		}
	}
	for _, item := range items {
		target.Set(reflect.Append(target, reflect.ValueOf(strings.TrimSpace(item))))
	}
	return nil
}

func (l lenient) note(ctx *kong.DecodeContext, err error) {
	if err != nil {
		l[ctx.Value] = err
	}
}

// switches are flags that may stand without a value.
type switches struct{ lenient }

// IsBool implements kong.BoolMapper.
func (switches) IsBool() bool { return true }

// Decode implements kong.Mapper.
func (s switches) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	if ctx.Scan.Peek().Type != kong.FlagValueToken {
		target.SetBool(true)
		return nil
	}
	var given option[bool]
	if err := given.Decode(ctx); err != nil {
		return err
	}
	s.note(ctx, given.err)
	target.SetBool(given.value)
	return nil
}
