package status

import (
	"errors"
	"net"
	"strings"
)

// Reason is what an error says, without this side's port: that one is another
// at every try, and the same trouble would look like news.
func Reason(err error) string {
	text := err.Error()
	var op *net.OpError
	if errors.As(err, &op) && op.Source != nil {
		text = strings.ReplaceAll(text, op.Source.String()+"->", "")
	}
	return text
}
