// The menu: share groups (KIP-932; the words are Kafka's): who is in one, and where its queues stand (menu/queues.h). Pure.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "broker/menu/topics.h"

namespace robustmq::broker {

// A member's whole part in its group; answered with ConsumerHeartbeatReply. What is nullopt is as it was.
struct HeartbeatShare {
  std::string group;
  std::string member_id;     // drawn by the member
  int32_t member_epoch = 0;  // 0: joins; -1: leaves
  std::optional<std::string> rack_id;
  std::optional<std::vector<std::string>> topics;
  std::string client_id;
  std::string client_host;
};
// Answered with DescribedConsumers.
struct DescribeShares {
  std::vector<std::string> groups;
};

// Where the queues of share groups stand.
struct DescribeShareOffsets {
  struct One {
    std::string group;
    bool all = false;  // every topic that the group has read
    std::vector<std::string> topics;
    std::vector<PartitionRef> partitions;
  };
  std::vector<One> groups;
};
struct DescribedShareOffsets {
  struct Partition {
    std::string topic;
    TopicId topic_id;
    int32_t partition = 0;
    Code code = Code::ok;
    Offset start = -1;  // the first record that is not done; -1: the queue was never used
    LeaderEpoch leader_epoch = 0;
    int64_t lag = -1;  // records that are not done; -1: not known
  };
  struct One {
    Code code = Code::ok;  // group_not_found
    std::string detail;
    std::vector<Partition> partitions;  // those asked in the order asked; with `all` by topic
  };
  std::vector<One> groups;
};

// The queues of a group without members begin anew elsewhere.
struct AlterShareOffsets {
  struct One {
    int32_t topic_index = 0;
    int32_t partition = 0;
    Offset start = 0;
  };
  std::string group;
  std::vector<std::string> topics;
  std::vector<One> partitions;
};
struct AlteredShareOffsets {
  Code code = Code::ok;  // group_not_found, group_not_empty
  std::string detail;
  std::vector<TopicId> topics;  // zero: unknown
  std::vector<Code> partitions;
};

// A group without members forgets topics, and where its queues over them stood.
struct DeleteShareOffsets {
  std::string group;
  std::vector<std::string> topics;
};
struct DeletedShareOffsets {
  Code code = Code::ok;  // group_not_found, group_not_empty
  std::string detail;
  std::vector<std::pair<TopicId, Code>> topics;  // unknown_topic: there is none, or the group has not read it
};

template <class R>
concept AboutShareOffsets =
    std::same_as<R, DescribeShareOffsets> || std::same_as<R, AlterShareOffsets> || std::same_as<R, DeleteShareOffsets>;

}  // namespace robustmq::broker
