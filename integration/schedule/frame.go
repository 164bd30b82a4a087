package schedule

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kafkaRequest is a request frame, read.
type kafkaRequest struct {
	kmsg.Request
	correlation int32
}

// parseRequest reads a request frame: length, header, body.
func parseRequest(frame []byte) (*kafkaRequest, error) {
	b := kbin.Reader{Src: frame[4:]}
	key, version, correlation := b.Int16(), b.Int16(), b.Int32()
	b.NullableString() // client id
	r := kmsg.RequestForKey(key)
	if r == nil {
		return nil, fmt.Errorf("request with unknown key %d", key)
	}
	r.SetVersion(version)
	if r.IsFlexible() {
		kmsg.SkipTags(&b)
	}
	if err := r.ReadFrom(b.Src); err != nil {
		return nil, fmt.Errorf("%s request: %w", kmsg.NameForKey(key), err)
	}
	return &kafkaRequest{Request: r, correlation: correlation}, nil
}

// parseResponse reads the response frame to a request.
func (r *kafkaRequest) parseResponse(frame []byte) (kmsg.Response, error) {
	res := r.ResponseKind()
	res.SetVersion(r.GetVersion())
	b := kbin.Reader{Src: frame[8:]}
	if res.IsFlexible() && res.Key() != int16(kmsg.ApiVersions) {
		kmsg.SkipTags(&b)
	}
	return res, res.ReadFrom(b.Src)
}

// refusal is the frame that answers a request with an error code, in the place
// where a broker puts it. It is nil for requests that are never refused.
func (x *exchange) refusal(code int16) []byte {
	res := x.request.refuse(code)
	if res == nil {
		return nil
	}
	res.SetVersion(x.request.GetVersion())
	frame := binary.BigEndian.AppendUint32(make([]byte, 4, 64), uint32(x.request.correlation))
	if res.IsFlexible() {
		frame = append(frame, 0)
	}
	frame = res.AppendTo(frame)
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	return frame
}

func (r *kafkaRequest) refuse(code int16) kmsg.Response {
	switch req := r.Request.(type) {
	case *kmsg.ProduceRequest:
		return refuseProduce(req, code)
	case *kmsg.FetchRequest:
		return refuseFetch(req, code)
	case *kmsg.ListOffsetsRequest:
		return refuseListOffsets(req, code)
	case *kmsg.OffsetCommitRequest:
		return refuseOffsetCommit(req, code)
	case *kmsg.OffsetFetchRequest:
		return &kmsg.OffsetFetchResponse{ErrorCode: code}
	case *kmsg.InitProducerIDRequest:
		return &kmsg.InitProducerIDResponse{ErrorCode: code, ProducerID: -1, ProducerEpoch: -1}
	case *kmsg.AddPartitionsToTxnRequest:
		return refuseAdd(req, code)
	case *kmsg.EndTxnRequest:
		return &kmsg.EndTxnResponse{ErrorCode: code}
	case *kmsg.FindCoordinatorRequest:
		return &kmsg.FindCoordinatorResponse{ErrorCode: code, NodeID: -1, Port: -1}
	case *kmsg.JoinGroupRequest:
		return &kmsg.JoinGroupResponse{ErrorCode: code, Generation: -1}
	case *kmsg.SyncGroupRequest:
		return &kmsg.SyncGroupResponse{ErrorCode: code}
	case *kmsg.HeartbeatRequest:
		return &kmsg.HeartbeatResponse{ErrorCode: code}
	case *kmsg.LeaveGroupRequest:
		return &kmsg.LeaveGroupResponse{ErrorCode: code}
	}
	return nil
}

func refuseProduce(req *kmsg.ProduceRequest, code int16) kmsg.Response {
	res := &kmsg.ProduceResponse{}
	for _, t := range req.Topics {
		topic := kmsg.ProduceResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			topic.Partitions = append(topic.Partitions, kmsg.ProduceResponseTopicPartition{
				Partition: p.Partition, ErrorCode: code, BaseOffset: -1, LogAppendTime: -1, LogStartOffset: -1})
		}
		res.Topics = append(res.Topics, topic)
	}
	return res
}

func refuseFetch(req *kmsg.FetchRequest, code int16) kmsg.Response {
	res := &kmsg.FetchResponse{}
	for _, t := range req.Topics {
		topic := kmsg.FetchResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			topic.Partitions = append(topic.Partitions, kmsg.FetchResponseTopicPartition{
				Partition: p.Partition, ErrorCode: code, HighWatermark: -1, LastStableOffset: -1, LogStartOffset: -1, PreferredReadReplica: -1})
		}
		res.Topics = append(res.Topics, topic)
	}
	return res
}

func refuseListOffsets(req *kmsg.ListOffsetsRequest, code int16) kmsg.Response {
	res := &kmsg.ListOffsetsResponse{}
	for _, t := range req.Topics {
		topic := kmsg.ListOffsetsResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			topic.Partitions = append(topic.Partitions, kmsg.ListOffsetsResponseTopicPartition{
				Partition: p.Partition, ErrorCode: code, Timestamp: -1, Offset: -1, LeaderEpoch: -1})
		}
		res.Topics = append(res.Topics, topic)
	}
	return res
}

func refuseOffsetCommit(req *kmsg.OffsetCommitRequest, code int16) kmsg.Response {
	res := &kmsg.OffsetCommitResponse{}
	for _, t := range req.Topics {
		topic := kmsg.OffsetCommitResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			topic.Partitions = append(topic.Partitions, kmsg.OffsetCommitResponseTopicPartition{Partition: p.Partition, ErrorCode: code})
		}
		res.Topics = append(res.Topics, topic)
	}
	return res
}

func refuseAdd(req *kmsg.AddPartitionsToTxnRequest, code int16) kmsg.Response {
	res := &kmsg.AddPartitionsToTxnResponse{}
	for _, t := range req.Topics {
		topic := kmsg.AddPartitionsToTxnResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			topic.Partitions = append(topic.Partitions, kmsg.AddPartitionsToTxnResponseTopicPartition{Partition: p, ErrorCode: code})
		}
		res.Topics = append(res.Topics, topic)
	}
	return res
}
