package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestALineOfProgressSaysHowMuchHowFastAndHowLong(t *testing.T) {
	for want, c := range map[string]struct {
		*progress
		since time.Duration
	}{
		"outcomes 0 of 316 (0 %)":                                        {&progress{total: 316}, time.Second},
		"outcomes 314 of 316 (99 %)":                                     {&progress{total: 316, done: 314}, time.Second},
		"outcomes 1,200,000 of 10,000,000 (12 %), 100,000/s, 1m28s left": {&progress{total: 10_000_000, done: 1_200_000}, 12 * time.Second},
		"outcomes 9,100,000 of 10,000,000 (91 %), 10,000/s, 1m30s left":  {&progress{total: 10_000_000, begin: 9_000_000, done: 9_100_000}, 10 * time.Second},
		"outcomes 12,345, 1,234/s":                                       {&progress{done: 12_345}, 10 * time.Second},
		"outcomes 10,000,000 of 10,000,000 (100 %), 100,000/s":           {&progress{total: 10_000_000, done: 10_000_000}, 100 * time.Second},
		"outcomes 9,000,000 of 10,000,000 (90 %)":                        {&progress{total: 10_000_000, begin: 9_000_000, done: 9_000_000}, time.Minute},
	} {
		c.progress.what = "outcomes"
		assert.Equal(t, want, c.progress.line(c.since))
	}
}
