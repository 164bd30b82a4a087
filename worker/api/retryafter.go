package api

import (
	"net/http"
	"strings"
	"time"
)

// maxRetryAfter bounds what a header can ask for, so that no sum overflows.
// The caller caps far below it.
const maxRetryAfter = 24 * time.Hour

// parseRetryAfter reads both forms of RFC 9110, section 10.2.3: seconds, and a
// date relative to now. What is neither, or already over, is no pause.
func parseRetryAfter(value string, now time.Time) time.Duration {
	value = strings.Trim(value, " \t")
	if value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		return seconds(value)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}

// seconds reads digits of any number.
func seconds(digits string) time.Duration {
	const limit = int64(maxRetryAfter / time.Second)
	n := int64(0)
	for i := range len(digits) {
		if n = n*10 + int64(digits[i]-'0'); n >= limit {
			return maxRetryAfter
		}
	}
	return time.Duration(n) * time.Second
}
