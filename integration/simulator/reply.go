package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// reply is an HTTP answer that is ready to be sent.
type reply struct {
	status      int
	contentType string
	header      map[string]string
	body        []byte
	cut         bool // send half the body, then close the connection

	// What the body says, for the ledger; nothing where it is not the API's, or
	// does not arrive whole.
	count   *int
	code    int
	errorID string
}

const jsonType = "application/json; charset=utf-8"

// apiError is the error body of the API's reference.
type apiError struct {
	Code      int    `json:"code"`
	Message   string `json:"message"`
	ErrorID   string `json:"errorId"`
	Timestamp string `json:"timestamp"`
}

// The reference shows times in two forms: 400 and 404 in the first one,
// everything else in the second.
const (
	shortTime = "2006-01-02T15:04:05.00Z"
	longTime  = "2006-01-02T15:04:05.0000000+00:00"
)

// documented is the code and text that go with a status, as far as 8x8 shows
// them.
var documented = map[int]struct {
	code    int
	message string
}{
	http.StatusBadRequest:          {1000, "Invalid umid."},
	http.StatusUnauthorized:        {1200, "Request was not authenticated properly"},
	http.StatusForbidden:           {1201, "Access is forbidden"},
	http.StatusNotFound:            {1300, "Message not found."},
	http.StatusUpgradeRequired:     {1014, "TLS 1.3+ is required for Singapore-bound messages. Detected: TLSv1.2"},
	http.StatusTooManyRequests:     {429, "Too Many Requests"},
	http.StatusInternalServerError: {2000, "Internal server error"},
}

// errorReply is the API's answer with an error status. An empty message or a
// zero code take what is documented for the status.
func errorReply(status, code int, message string) reply {
	usual, known := documented[status]
	if !known {
		usual.code, usual.message = status, http.StatusText(status)
	}
	if code == 0 {
		code = usual.code
	}
	if message == "" {
		message = usual.message
	}
	id := uuid.NewString()
	rep := jsonReply(status, apiError{code, message, id, timestamp(status)})
	rep.code, rep.errorID = code, id
	switch status {
	case http.StatusUpgradeRequired:
		rep.header = map[string]string{"Upgrade": "TLS/1.3"}
	case http.StatusTooManyRequests:
		rep.header = map[string]string{"Retry-After": "1"}
	}
	return rep
}

func timestamp(status int) string {
	layout := longTime
	if status == http.StatusBadRequest || status == http.StatusNotFound {
		layout = shortTime
	}
	return time.Now().UTC().Format(layout)
}

func foreignReply() reply {
	return errorReply(http.StatusUnauthorized, 1001, "Provided subAccountId doesn't belongs to your account")
}

func countReply(count int) reply {
	body := strconv.AppendInt([]byte(`{"cancelledCount":`), int64(count), 10)
	return reply{status: http.StatusOK, contentType: jsonType, body: append(body, '}'), count: &count}
}

func jsonReply(status int, v any) reply {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false) // the API escapes nothing that JSON does not ask for
	_ = encoder.Encode(v)        // plain strings and numbers always encode
	return reply{status: status, contentType: jsonType, body: bytes.TrimRight(body.Bytes(), "\n")}
}

// htmlReply is what a gateway in front of the API answers.
func htmlReply(status int) reply {
	title := fmt.Sprintf("%d %s", status, http.StatusText(status))
	page := fmt.Sprintf("<html>\r\n<head><title>%[1]s</title></head>\r\n<body>\r\n<center><h1>%[1]s</h1></center>\r\n"+
		"<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n", title)
	return reply{status: status, contentType: "text/html", body: []byte(page)}
}

// hugeReply would be a success, were it not so long that no client should read
// it to its end.
func hugeReply(status, count int) reply {
	const padding = 1 << 20
	var body bytes.Buffer
	fmt.Fprintf(&body, `{"cancelledCount":%d,"padding":"`, count)
	body.Write(bytes.Repeat([]byte("x"), padding))
	body.WriteString(`"}`)
	return reply{status: status, contentType: jsonType, body: body.Bytes()}
}

// standIn is the reply that an Answer gives in place of the API's; count is
// what the call cancelled.
func standIn(a *Answer, count int) reply {
	var rep reply
	switch {
	case a.Huge:
		rep = hugeReply(http.StatusOK, count)
	case a.HTML:
		rep = htmlReply(orStatus(a.Status, http.StatusBadGateway))
	case a.Empty:
		rep = reply{status: http.StatusOK, contentType: jsonType}
	case a.Redirect:
		rep = reply{status: http.StatusFound, header: map[string]string{"Location": "/moved"}}
	case a.NoCount:
		rep = reply{status: http.StatusOK, contentType: jsonType, body: []byte("{}")}
	case a.Body != nil:
		rep = reply{status: http.StatusOK, contentType: jsonType, body: []byte(*a.Body)}
	default:
		rep = errorReply(a.Status, a.Code, a.Message)
	}
	return rep
}

func orStatus(status, usual int) int {
	if status == 0 {
		return usual
	}
	return status
}

// dress gives a reply the status, headers and cut that an Answer asks for.
func (rep reply) dress(a *Answer) reply {
	// A 2xx of a scenario names a success; it does not turn a 404 into one.
	if a.standsIn() || rep.status == http.StatusOK {
		rep.status = orStatus(a.Status, rep.status)
	}
	header := make(map[string]string, len(rep.header)+len(a.Header)+1)
	for name, value := range rep.header {
		header[name] = value
	}
	if value, err := retryAfter(a.RetryAfter, time.Now()); err == nil && value != "" {
		header["Retry-After"] = value
	}
	for name, value := range a.Header {
		header[name] = value
	}
	if a.ContentType != "" {
		rep.contentType = a.ContentType
	}
	rep.header, rep.cut = header, a.Truncated
	if rep.cut {
		rep.count, rep.code, rep.errorID = nil, 0, ""
	}
	return rep
}

// send writes the reply. A cut one declares its whole length and keeps half
// back, upon which net/http closes the connection.
func (rep reply) send(w http.ResponseWriter) {
	header := w.Header()
	for name, value := range rep.header {
		header.Set(name, value)
	}
	if rep.contentType != "" {
		header.Set("Content-Type", rep.contentType)
	}
	body := rep.body
	if rep.cut {
		header.Set("Content-Length", strconv.Itoa(len(body)))
		body = body[:len(body)/2]
	}
	w.WriteHeader(rep.status)
	// Errors are not for us: a 204 or 304 takes no body, and a client that left
	// reads none.
	_, _ = w.Write(body)
}
