package bench

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/segmentio/kafka-go"

	"smscancel/worker"
)

// baseline is what one writes in an afternoon: fetch, DELETE, write, commit, one
// request after another.
func (s *Spec) baseline(ctx context.Context) (Report, error) {
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: s.Brokers, GroupID: s.Group, Topic: s.Requests, MaxWait: 100 * time.Millisecond,
		JoinGroupBackoff: 200 * time.Millisecond})
	defer reader.Close()
	writer := &kafka.Writer{Addr: kafka.TCP(s.Brokers...), Topic: s.Outcomes, Balancer: kafka.Murmur2Balancer{Consistent: true},
		RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond}
	defer writer.Close()
	client, err := s.trusting()
	if err != nil {
		return Report{}, err
	}
	var watch stopwatch
	for n := range s.Count {
		m, err := reader.FetchMessage(ctx)
		if err != nil {
			return Report{}, err
		}
		if n == 0 {
			if watch, err = start(); err != nil {
				return Report{}, err
			}
		}
		o, err := s.handle(ctx, client, m)
		if err != nil {
			return Report{}, err
		}
		if err := writer.WriteMessages(ctx, kafka.Message{Key: m.Key, Value: o}); err != nil {
			return Report{}, err
		}
		if err := reader.CommitMessages(ctx, m); err != nil {
			return Report{}, err
		}
	}
	return watch.stop(Report{Done: s.Count})
}

// outcome is what the baseline says of a request.
type outcome struct {
	UMID           string `json:"umid"`
	SubAccountID   string `json:"subAccountId"`
	Status         string `json:"status"`
	CancelledCount int    `json:"cancelledCount"`
	HTTPStatus     int    `json:"httpStatus"`
	Source         source `json:"source"`
}

type source struct {
	Topic     string    `json:"topic"`
	Partition int       `json:"partition"`
	Offset    int64     `json:"offset"`
	Timestamp time.Time `json:"timestamp"`
}

// handle calls until there is an answer that is final, and encodes it.
func (s *Spec) handle(ctx context.Context, client *http.Client, m kafka.Message) ([]byte, error) {
	var request struct{ UMID, SubAccountID string }
	if err := json.Unmarshal(m.Value, &request); err != nil {
		return nil, err
	}
	o := outcome{UMID: request.UMID, SubAccountID: request.SubAccountID, Status: "failed",
		Source: source{m.Topic, m.Partition, m.Offset, m.Time.UTC()}}
	for {
		var body []byte
		var err error
		o.HTTPStatus, body, err = cancel(ctx, client, s, worker.Target{SubAccountID: request.SubAccountID, ID: request.UMID})
		if err == nil && o.HTTPStatus < 500 {
			if o.HTTPStatus == http.StatusOK {
				o.Status = "cancelled"
				err = json.Unmarshal(body, &o)
			}
			if err != nil {
				return nil, err
			}
			return json.Marshal(o)
		}
		select {
		case <-time.After(backoff):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// cancel makes one DELETE and reads its answer whole.
func cancel(ctx context.Context, client *http.Client, s *Spec, t worker.Target) (status int, body []byte, err error) {
	url := fmt.Sprintf("%s/api/v1/subaccounts/%s/messages/%s", s.API, t.SubAccountID, t.ID)
	request, err := http.NewRequestWithContext(ctx, http.MethodDelete, url, http.NoBody)
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Authorization", "Bearer "+s.Key)
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	return response.StatusCode, body, err
}

// trusting is net/http's client for an API with a CA of its own.
func (s *Spec) trusting() (*http.Client, error) {
	if s.CAFile == "" {
		return &http.Client{Timeout: 10 * time.Second}, nil
	}
	content, err := os.ReadFile(s.CAFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(content) {
		return nil, errors.New("no certificate in " + s.CAFile)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}}
	return &http.Client{Timeout: 10 * time.Second, Transport: transport}, nil
}
