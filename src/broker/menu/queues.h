// The menu: queues over partitions: records leased to consumers, and what became of them (broker/lease). Kafka's share groups are
// one spelling of it. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/describe.h"
#include "base/ids.h"
#include "base/pieces.h"
#include "base/result.h"
#include "broker/menu/topics.h"

namespace robustmq::broker {

// A share group whose name begins so is a queue that connections follow (FollowOne of kQueueShare): they are its only members. It
// is set to begin with what comes, to committed records, to leases as long as a connection, and to no limit of deliveries.
constexpr std::string_view kQueueGroup = "$queue/";

// What the queues of one name are set to.
struct QueueSettings {
  // Where a queue begins that was never used.
  enum class StartAt : uint8_t { latest, earliest, before_now };
  StartAt start_at = StartAt::latest;
  int64_t before_ms = 0;       // before_now: the first record of this time before now, else the latest
  int64_t lease_ms = 30'000;   // 0: as long as its consumer
  int32_t delivery_limit = 5;  // deliveries after which a record that comes back is given to nobody any more; 0: no limit
  int64_t in_flight_max = 2'000;
  bool read_committed = false;  // nothing at or past the last stable offset, and nothing that was aborted
  bool may_renew = true;
  // Where records that died go: rejected, or at the limit of deliveries. One is done when its dead letter is durable.
  struct DeadLetters {
    std::string topic;      // a stream that takes them (meta::TopicConfig::takes_dead_letters); empty: nowhere
    std::string prefix;     // what its name must begin with
    bool may_make = false;  // where it is not there
    bool copies = false;    // with the record's key and value
    bool operator==(const DeadLetters&) const = default;
  };
  DeadLetters dead_letters;
  // Who of those that wait for records gets the next ones.
  enum class Dispatch : uint8_t { round_robin, random, least_inflight };
  Dispatch dispatch = Dispatch::round_robin;
  bool last_value = false;  // what a newer record of the same key has replaced is given to nobody, unless somebody had it already
  bool operator==(const QueueSettings&) const = default;
};

// What became of leased records, all of which the consumer must hold.
struct SettleRange {
  enum class What : uint8_t {
    accept,   // done, for good once it is answered
    release,  // for somebody else; the delivery counts
    reject,   // for nobody any more
    renew,    // its lease begins anew
  };
  Offset first = 0;
  Offset last = 0;
  What what = What::accept;
};
// All of a partition's ranges take effect, or none.
struct SettlePartition {
  int32_t topic_index = 0;
  int32_t partition = 0;
  std::vector<SettleRange> ranges;  // ascending, not overlapping
};

// Settles, then leases what is there; waits where nothing is. Only streams have queues.
struct LeaseRecords {
  std::string queue;     // who shares the partitions: a share group
  std::string consumer;  // one name a consumer of the queue
  std::vector<TopicRef> topics;
  std::vector<SettlePartition> settled;
  std::vector<PartitionRef> partitions;  // in this order, as far as the limits go
  int64_t messages_max = 0;              // 0: nothing is leased
  bool whole_batches = false;            // the last batch is leased to its end, past messages_max
  int64_t bytes_max = INT32_MAX;         // of batches; the first one is given whatever its size
  int64_t bytes_min = 1;  // of batches: with fewer it waits for more, and holds what it has, for half of a lease at most
  int32_t wait_max_ms = 0;
};
struct LeasedRange {
  Offset first = 0;
  Offset last = 0;
  uint16_t deliveries = 1;  // this one included
};
struct LeasedPartition {
  Code code = Code::ok;  // unknown_topic, unknown_topic_id, group_not_found (no such queue), storage_*
  std::vector<LeasedRange> ranges;
  Pieces batches;  // whole batches with the records of `ranges`, and maybe others
};
struct LeasedRecords {
  int64_t lease_ms = 0;                     // 0: no queue was asked
  std::vector<Code> settled;                // in the order asked; not_found: some of it was not the consumer's
  std::vector<LeasedPartition> partitions;  // in the order asked
};

// Settles alone. Durable when answered.
struct SettleLeases {
  std::string queue;
  std::string consumer;
  std::vector<TopicRef> topics;
  std::vector<SettlePartition> settled;
};
struct LeasesSettled {
  int64_t lease_ms = 0;
  std::vector<Code> settled;
};

// The consumer goes: what this connection holds as it goes back as if it had not been delivered. The end of a connection does the
// same, but counts the deliveries.
struct LeaveQueue {
  std::string queue;
  std::string consumer;
};
struct LeftQueue {};

// Sees to it that a queue is there, as a subscription to it does (FollowOne of kQueueShare): begun, and durable when answered.
struct OpenQueue {
  std::string name;  // `NAME` or `NAME/FILTER`, of a stream
};
struct QueueOpened {
  Code code = Code::ok;  // invalid_topic: no such stream; quota_exceeded, coordinator_loading, storage_*
  std::string group;     // what keeps it: the share group of this name
};

}  // namespace robustmq::broker

template <>
struct robustmq::EnumNames<robustmq::broker::QueueSettings::Dispatch> {
  using D = robustmq::broker::QueueSettings::Dispatch;
  static constexpr std::pair<D, std::string_view> values[] = {
      {D::round_robin, "round_robin"}, {D::random, "random"}, {D::least_inflight, "least_inflight"}};
};
