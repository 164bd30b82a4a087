package outcomes

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Safe shows what would break a line, hide in it, or command a terminal: control
// characters, escape sequences, marks of direction.
func Safe(text string) string {
	if !strings.ContainsFunc(text, hidden) {
		return text
	}
	var line strings.Builder
	for _, r := range text {
		if hidden(r) {
			line.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		} else {
			line.WriteRune(r)
		}
	}
	return line.String()
}

func hidden(r rune) bool { return !unicode.IsPrint(r) }

// SafeJSON writes valid JSON on one line, with the same meaning: what is hidden
// stands in a string, where it can be escaped, or is the space between tokens.
func SafeJSON(value []byte) []byte {
	if !hasHidden(value) {
		return value
	}
	line := make([]byte, 0, len(value)+16)
	for _, r := range string(value) {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			line = append(line, ' ')
		case hidden(r) && r > 0xffff:
			high, low := utf16.EncodeRune(r)
			line = fmt.Appendf(line, `\u%04x\u%04x`, high, low)
		case hidden(r):
			line = fmt.Appendf(line, `\u%04x`, r)
		default:
			line = utf8.AppendRune(line, r)
		}
	}
	return line
}

func hasHidden(value []byte) bool {
	for _, b := range value {
		if b < ' ' || b > '~' {
			return true // or a letter; that is looked at next
		}
	}
	return false
}

// safeCell is a text as a cell of a spreadsheet: none begins a formula.
func safeCell(text string) string {
	text = Safe(text)
	if first, _ := utf8.DecodeRuneInString(text); first != utf8.RuneError && strings.ContainsRune("=+-@＝＋－＠", first) {
		return "'" + text
	}
	return text
}
