package producer

import (
	"errors"

	"smscancel/consumer/records"
	"smscancel/worker"
)

// Written is what an outcome record says in the header that a replay reads.
type Written struct {
	Partitions int // of the outcome topic when it was written
	Topic      string
	Partition  int
	Record     worker.RecordID // the request
}

var errNoEntry = errors.New("it has no header " + entryHeader + ": a worker did not write it")

// ReadWritten reads the header of an outcome record. An error means that no
// worker wrote it.
func ReadWritten(rec *records.Record) (Written, error) {
	header, ok := rec.Headers.Get(entryHeader)
	if !ok {
		return Written{}, errNoEntry
	}
	e, err := parseEntry(header, rec.Key)
	return Written{e.partitions, string(e.topic), e.partition, e.record}, err
}
