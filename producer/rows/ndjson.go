package rows

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// ndjson reads one request a line; blank lines are none.
type ndjson struct {
	from *bufio.Reader
	line int
	long []byte // a line that did not fit into the reader's buffer
}

func (n *ndjson) next() (Row, error) {
	for {
		text, over, err := n.read()
		if err != nil && !errors.Is(err, io.EOF) {
			return Row{}, err
		}
		if err != nil && len(text) == 0 && !over {
			return Row{}, io.EOF
		}
		n.line++
		if over {
			return Row{Line: n.line, Fault: tooLong()}, nil
		}
		if text = bytes.TrimRight(text, "\r\n"); len(bytes.TrimSpace(text)) > 0 {
			return Row{Line: n.line, Value: text}, nil
		}
	}
}

// read reads a line with its end; over tells that it was too long to be kept.
func (n *ndjson) read() (text []byte, over bool, err error) {
	text, err = n.from.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return text, false, err
	}
	n.long = append(n.long[:0], text...)
	for errors.Is(err, bufio.ErrBufferFull) {
		text, err = n.from.ReadSlice('\n')
		if over = over || len(n.long)+len(text) > maxRow; !over {
			n.long = append(n.long, text...)
		}
	}
	return n.long, over, err
}
