package submission

import (
	"context"
	"errors"
	"fmt"

	"smscancel/producer"
	"smscancel/producer/rows"
	"smscancel/worker"
)

// Submission is some inputs on their way into a request topic.
type Submission struct {
	Inputs      []*Input
	Check       rows.Checker
	SkipInvalid bool

	Requests *producer.Requests
	Places   producer.Places // of what was acknowledged

	// Invalid is told of each row that is at fault, once.
	Invalid func(name string, line int, fault *worker.Rejection)
	// Sent is told how many rows more were acknowledged; nil = nobody wants to know.
	Sent func(rows int64)
	// Unkept is told once why the journal cannot be written any more.
	Unkept func(error)

	acknowledged int64
	journal      *Journal
}

// Count says how many rows can be sent and how many cannot.
type Count struct{ Valid, Invalid int64 }

// Survey judges the rows of all files. Streams are judged when they are sent.
func (s *Submission) Survey(ctx context.Context) (c Count, err error) {
	for _, in := range s.Inputs {
		if in.Stream != nil {
			continue
		}
		if err := in.survey(ctx, s.Check, func(j judged) error { s.count(&c, in, j); return nil }); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (s *Submission) count(c *Count, in *Input, j judged) {
	if j.fault == nil {
		c.Valid++
		return
	}
	c.Invalid++
	s.Invalid(in.Name, j.line, j.fault)
}

// Rehearse judges the rows of the streams and sends nothing.
func (s *Submission) Rehearse(ctx context.Context) (c Count, err error) {
	for _, in := range s.Inputs {
		if in.Stream == nil {
			continue
		}
		if err := in.read(ctx, s.Check, func(j judged) error { s.count(&c, in, j); return nil }); err != nil {
			return c, err
		}
	}
	return c, nil
}

// Stopped is a submission that ended early.
type Stopped struct {
	Acknowledged int64 // rows
	Err          error // why
}

func (e *Stopped) Error() string { return e.Err.Error() }
func (e *Stopped) Unwrap() error { return e.Err }

// Send publishes the rows behind those that the journal knows to be acknowledged,
// and returns when all are durable. Journal may be nil. An error is a *Stopped.
func (s *Submission) Send(ctx context.Context, journal *Journal) error {
	s.journal = journal
	if journal != nil {
		s.acknowledged = journal.Acknowledged
		s.Places.Add(journal.Spans...)
	}
	q := newQueue()
	defer q.close(errAbandoned)
	defer context.AfterFunc(ctx, func() { q.close(ctx.Err()) })()
	before := s.acknowledged
	go func() { q.end(s.fill(ctx, q, before)) }() // a read that blocks may outlive us
	for {
		batch, err := q.take()
		if err == nil && len(batch) == 0 {
			return nil
		}
		if err == nil {
			err = s.publish(ctx, batch)
		}
		if err != nil {
			return &Stopped{s.acknowledged, err}
		}
	}
}

// fill puts the rows into the queue, but the first, which were sent before.
func (s *Submission) fill(ctx context.Context, q *queue, before int64) error {
	for _, in := range s.Inputs {
		err := in.read(ctx, s.Check, func(j judged) error {
			if j.fault != nil {
				return s.invalid(in, j)
			}
			if before > 0 {
				before--
				return nil
			}
			return q.put(row{in, j.line, producer.Request{ID: j.request.ID, Value: j.request.Value}})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// invalid deals with a row at fault: that of a file is known from the survey.
func (s *Submission) invalid(in *Input, j judged) error {
	if in.Stream == nil {
		return nil
	}
	if s.SkipInvalid {
		s.Invalid(in.Name, j.line, j.fault)
		return nil
	}
	return fmt.Errorf("%s:%d: %w", in.Name, j.line, j.fault)
}

// publish makes a batch durable, and then says so.
func (s *Submission) publish(ctx context.Context, batch []row) error {
	requests := make([]producer.Request, len(batch))
	for i, r := range batch {
		requests[i] = r.Request
	}
	spans, err := s.Requests.Publish(ctx, requests...)
	if large := (*producer.TooLargeError)(nil); errors.As(err, &large) {
		at := batch[large.Index]
		err = fmt.Errorf("%s:%d: %w", at.in.Name, at.line, err)
	}
	if err != nil {
		return err
	}
	s.Places.Add(spans...)
	s.acknowledged += int64(len(batch))
	if s.journal != nil {
		if err := s.journal.advance(s.acknowledged, spans); err != nil {
			s.Unkept(err)
			s.journal = nil
		}
	}
	if s.Sent != nil {
		s.Sent(int64(len(batch)))
	}
	return nil
}
