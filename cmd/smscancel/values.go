package main

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// parseValue reads a flag's text. Its error completes the sentence that begins
// with the text.
func parseValue[T any](text string) (T, error) {
	var v T
	var err error
	switch p := any(&v).(type) {
	case *string:
		*p = text
	case *bool:
		*p, err = strconv.ParseBool(text)
		err = rephrase(err, "is neither true nor false")
	case *int:
		*p, err = strconv.Atoi(text)
		err = rephrase(err, "is no whole number")
	case *float64:
		*p, err = strconv.ParseFloat(text, 64)
		if err == nil && (math.IsNaN(*p) || math.IsInf(*p, 0)) {
			err = errors.New("")
		}
		err = rephrase(err, "is no number")
	case *time.Duration:
		*p, err = time.ParseDuration(text)
		err = rephrase(err, "is no duration; write it like 500ms, 10s, 15m or 24h")
	case *[]string:
		for _, item := range strings.Split(text, ",") {
			*p = append(*p, strings.TrimSpace(item))
		}
	}
	return v, err
}

func rephrase(err error, text string) error {
	if err == nil {
		return nil
	}
	return errors.New(text)
}
