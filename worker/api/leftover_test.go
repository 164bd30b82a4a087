package api

import (
	"bufio"
	"io"
	"net"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"time"

	"smscancel/worker"
)

var (
	splitMessage = worker.Target{SubAccountID: "acme", ID: "split"}
	nextMessage  = worker.Target{SubAccountID: "acme", ID: "next"}
)

// Fault: two answers come for one request, in one piece, and the connection
// goes to the next message before net/http has looked at the second. Promise:
// the second is nobody's answer; never is a message reported as cancelled by it.
func TestTheRestOfAnAnswerIsNotTheAnswerToTheNextMessage(t *testing.T) {
	const success = `{"cancelledCount":1}`
	for name, answer := range map[string]string{
		"with a body":      httpAnswer(404, `{"code":1300}`) + httpAnswer(200, success),
		"without a body":   "HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n" + httpAnswer(200, success),
		"204":              "HTTP/1.1 204 x\r\n\r\n" + httpAnswer(200, success),
		"chunked":          "HTTP/1.1 404 x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + httpAnswer(200, success),
		"cut in its head":  httpAnswer(404, `{"code":1300}`) + "HTTP/1.1 200 x\r\nX: ",
		"cut in its body":  httpAnswer(404, `{"code":1300}`) + "HTTP/1.1 200 x\r\nContent-Length: 60\r\n\r\n{",
		"of a single byte": httpAnswer(404, `{"code":1300}`) + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			asked, waiting := make(chan struct{}), make(chan struct{}) // by the first message; the next one for the connection
			url := rawServer(t, splitting(answer, asked, waiting))
			client := newTestClient(t, Config{BaseURL: url, Concurrency: 1, AttemptTimeout: time.Minute})
			sent := make(chan struct{})
			var getting, writing sync.Once // the transport may take another connection when this one is closed in time
			first := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
				PutIdleConn: func(error) { <-sent }, // keeps net/http from looking before the next request is sent
			})
			next := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
				GetConn:      func(string) { getting.Do(func() { close(waiting) }) },
				WroteRequest: func(httptrace.WroteRequestInfo) { writing.Do(func() { close(sent) }) },
			})
			var calls sync.WaitGroup
			calls.Go(func() { client.Cancel(first, worker.Call{Target: splitMessage}) })
			<-asked
			verdict := client.Cancel(next, worker.Call{Target: nextMessage})
			calls.Wait()
			if verdict.Status != worker.StatusNotCancelled { // else its own answer, from another connection
				check(t, "next", verdict, want{kind: worker.KindBadResponse, open: verdict.Open}) // as far as the request was sent
			}
			check(t, "again", client.Cancel(t.Context(), worker.Call{Target: nextMessage}), want{status: worker.StatusNotCancelled})
		})
	}
}

// splitting answers the split message with what is given, once the next one
// waits for the connection, and every other message with 200 and a count of 0.
func splitting(answer string, asked chan<- struct{}, waiting <-chan struct{}) func(net.Conn) {
	return func(c net.Conn) {
		for r := bufio.NewReader(c); ; {
			lines, err := readRequest(r)
			if err != nil {
				return
			}
			if strings.Contains(lines[0], splitMessage.ID) {
				close(asked)
				<-waiting
				io.WriteString(c, answer)
				continue
			}
			io.WriteString(c, httpAnswer(200, `{"cancelledCount":0}`))
		}
	}
}
