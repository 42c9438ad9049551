// The menu: batches by shard. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/pieces.h"
#include "base/result.h"
#include "broker/menu/topics.h"

namespace robustmq::broker {

// Times of a batch's records, and which ones have them; records without a time (-1) do not count.
struct RecordTimes {
  int64_t min_ms = -1;
  int64_t max_ms = -1;
  int32_t min_record = -1;
  int32_t max_record = -1;
};
struct ProducePartition {
  int32_t topic_index = 0;  // into Produce::topics
  int32_t partition = 0;
  Bytes batch;  // one batch, shape and CRC and records checked by the protocol
  RecordTimes times;
  int32_t keyless_record = -1;  // the first one without a key; -1: none
};
struct Produce {
  std::vector<TopicRef> topics;
  std::vector<ProducePartition> partitions;
  // Of the transaction that transactional batches belong to; empty: they are refused.
  std::string transactional_id;
  // Partitions that are not in the transaction yet are added to it; else a batch for one is refused.
  bool adds_partitions = false;
};
struct ProducedPartition {
  Code code = Code::ok;
  std::string detail;
  Offset base_offset = -1;
  int64_t append_time_ms = -1;
  Offset log_start = -1;
  LeaderEpoch leader_epoch = -1;
  int32_t bad_record = -1;  // invalid_timestamp, invalid_record: which record is at fault
};
struct Produced {
  std::vector<ProducedPartition> partitions;
};  // in the order asked

struct FetchPartition {
  int32_t topic_index = 0;
  int32_t partition = 0;
  Offset from = 0;
  LeaderEpoch current_leader_epoch = -1;  // -1: not checked
  int32_t bytes_max = 0;
  LeaderEpoch last_fetched_epoch = -1;  // of the record before `from`; -1: not checked
};
struct Fetch {
  std::vector<TopicRef> topics;
  std::vector<FetchPartition> partitions;
  int32_t bytes_min = 1;
  int32_t bytes_max = INT32_MAX;
  int32_t wait_max_ms = 0;      // parks until bytes_min are there or this is over
  bool read_committed = false;  // nothing at or past the last stable offset; aborted transactions are named
};
// Records of this producer from `first` on are void, up to the marker that ended the transaction.
struct AbortedTransaction {
  ProducerId producer = -1;
  Offset first = -1;
};
struct FetchedPartition {
  Code code = Code::ok;
  Offset high_watermark = -1;
  Offset log_start = -1;
  LeaderEpoch leader_epoch = -1;  // -1: not known
  // Not -1: the reader's log parted from this one; this is the largest epoch at or below the reader's, and where it ended.
  LeaderEpoch diverging_epoch = -1;
  Offset diverging_end = -1;
  Offset last_stable = -1;                  // below it every transaction has ended
  std::vector<AbortedTransaction> aborted;  // with read_committed: those that batches may hold, by their first offset
  Pieces batches;                           // whole batches, as stored
};
struct FetchReply {
  std::vector<FetchedPartition> partitions;
};  // in the order asked

struct ListOffsetsPartition {
  enum class What : uint8_t {
    at_time,
    earliest,
    latest,
    max_timestamp,
    earliest_local,
    latest_tiered,
    earliest_pending_upload,
    end_of_epoch,  // where the largest epoch at or below `epoch` ends; leader_epoch of the answer names it
  };
  int32_t topic_index = 0;
  int32_t partition = 0;
  LeaderEpoch current_leader_epoch = -1;
  What what = What::latest;
  int64_t timestamp_ms = 0;  // at_time
  LeaderEpoch epoch = -1;    // end_of_epoch
};
struct ListOffsets {
  std::vector<TopicRef> topics;
  std::vector<ListOffsetsPartition> partitions;
  bool read_committed = false;  // the last stable offset is the end
};
struct ListedOffset {
  Code code = Code::ok;
  Offset offset = -1;
  int64_t timestamp_ms = -1;
  LeaderEpoch leader_epoch = -1;
};
struct ListedOffsets {
  std::vector<ListedOffset> partitions;
};

// Drops what lies before an offset. Durable when answered.
struct DeleteRecords {
  struct One {
    int32_t topic_index = 0;
    int32_t partition = 0;
    Offset before = -1;  // -1: the high watermark
  };
  std::vector<TopicRef> topics;
  std::vector<One> partitions;
};
struct DeletedRecords {
  struct One {
    Code code = Code::ok;  // offset_out_of_range: past the high watermark; not_supported: the topic is only compacted
    Offset log_start = -1;
  };
  std::vector<One> partitions;
};

// The idempotent producers that partitions know.
struct DescribeProducers {
  std::vector<TopicRef> topics;
  std::vector<PartitionRef> partitions;
};
struct DescribedProducers {
  struct Producer {
    ProducerId id = -1;
    int16_t epoch = -1;
    int32_t last_sequence = -1;
    int64_t last_ms = -1;
    Offset transaction_start = -1;  // of the one that is open; -1: none
  };
  struct One {
    Code code = Code::ok;
    std::vector<Producer> producers;
  };
  std::vector<One> partitions;
};

// What partitions take.
struct DescribeLogs {
  std::vector<TopicRef> topics;
  std::vector<PartitionRef> partitions;
};
struct DescribedLogs {
  struct One {
    Code code = Code::ok;
    uint64_t size_bytes = 0;
  };
  std::vector<One> partitions;
  int64_t usable_bytes = -1;  // of the disk; -1: not known
};

}  // namespace robustmq::broker
