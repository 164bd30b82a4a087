package consumer

import (
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"

	"smscancel/consumer/records"
	"smscancel/worker"
)

// decode gives a record of the log the form that the worker knows. It shares
// the page's memory: the worker keeps nothing of it.
func (s *session) decode(rec records.Record) *worker.Record {
	return Decode(s.tp.topic, s.tp.partition, &rec)
}

// Decode gives a record of a request topic the form that the worker knows. They
// share their memory.
func Decode(topic string, partition int, rec *records.Record) *worker.Record {
	r := &worker.Record{
		Topic: topic, Partition: partition, Offset: rec.Offset,
		Timestamp: time.UnixMilli(rec.Timestamp), Key: rec.Key, Value: rec.Value,
	}
	for name, value := range rec.Headers.All() {
		r.Headers = worker.KeepHeader(r.Headers, name, value)
	}
	return r
}

// checkKey counts requests whose key or partition is not what the common
// partitioner gives: their duplicates may be in another partition.
func (s *session) checkKey(rec *worker.Record, job *worker.Job) {
	key, valid := job.Key()
	if !valid {
		return
	}
	var all []int
	if partitions := s.c.partitions.Load(); partitions != nil {
		all = (*partitions)[s.tp.topic]
	}
	if string(rec.Key) == key && (len(all) == 0 || murmur2.Balance(kafka.Message{Key: rec.Key}, all...) == rec.Partition) {
		return
	}
	s.c.Handler.Metrics.Unkeyed.Inc()
}

var murmur2 = kafka.Murmur2Balancer{Consistent: true}

// lostToRetention counts records that were deleted before they were handled.
// Those with an outcome are taken out of settled: they were not lost.
func (c *Consumer) lostToRetention(log zerolog.Logger, from, to int64, settled map[worker.RecordID]int64) {
	handled := map[int64]bool{}
	for id := range settled {
		if id.Offset >= from && id.Offset < to {
			handled[id.Offset] = true
			delete(settled, id)
		}
	}
	lost := to - from - int64(len(handled))
	if lost == 0 {
		return
	}
	c.Handler.Metrics.LostRetention.Add(float64(lost))
	log.Error().Int64("from", from).Int64("to", to).Int64("records", lost).
		Msg("retention deleted requests before they were handled; they get no outcome")
}
