// The menu: consumer groups (classic protocol; the words are Kafka's). Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "broker/menu/topics.h"

namespace robustmq::broker {

struct GroupProtocol {
  std::string name;
  Bytes metadata;
};
struct JoinGroup {
  std::string group;
  std::string member_id;  // empty: the first join
  std::optional<std::string> instance_id;
  std::string client_id;
  std::string client_host;
  std::string protocol_type;
  std::vector<GroupProtocol> protocols;
  int32_t session_timeout_ms = 0;
  int32_t rebalance_timeout_ms = 0;
  bool member_id_required = false;   // answer a first join with an id to come back with (v4 and later)
  bool can_skip_assignment = false;  // understands JoinedGroup::skip_assignment (v9)
  std::string reason;
};
struct JoinedGroup {
  Code code = Code::ok;
  int32_t generation = -1;
  std::string protocol_type;
  std::string protocol;
  std::string leader;
  std::string member_id;
  bool skip_assignment = false;
  struct Member {
    std::string id;
    std::optional<std::string> instance_id;
    Bytes metadata;
  };
  std::vector<Member> members;  // for the leader only
};
struct SyncGroup {
  std::string group;
  std::string member_id;
  std::optional<std::string> instance_id;
  int32_t generation = -1;
  std::string protocol_type;  // empty: not checked
  std::string protocol;
  struct Assignment {
    std::string member_id;
    Bytes assignment;
  };
  std::vector<Assignment> assignments;
};
struct SyncedGroup {
  Code code = Code::ok;
  std::string protocol_type;
  std::string protocol;
  Bytes assignment;
};
struct HeartbeatGroup {
  std::string group;
  std::string member_id;
  std::optional<std::string> instance_id;
  int32_t generation = -1;
};
struct HeartbeatReply {
  Code code = Code::ok;
};
struct LeaveGroup {
  std::string group;
  struct Member {
    std::string id;
    std::optional<std::string> instance_id;
  };
  std::vector<Member> members;
};
struct LeftGroup {
  Code code = Code::ok;
  std::vector<Code> members;
};
struct CommitOffsets {
  std::string group;
  std::string member_id;
  std::optional<std::string> instance_id;
  int32_t generation = -1;
  struct One {
    int32_t topic_index = 0;
    int32_t partition = 0;
    Offset offset = -1;
    LeaderEpoch leader_epoch = -1;
    std::string metadata;
  };
  std::vector<TopicRef> topics;
  std::vector<One> offsets;
  int64_t retention_ms = -1;  // asked for these offsets; -1: as the node's options say
  // `generation` may be a member epoch: what a member of the consumer protocol must speak (OffsetCommit 9 and later).
  bool knows_epochs = false;
};
struct CommittedOffsets {
  std::vector<Code> offsets;
};  // in the order asked
struct FetchOffsets {
  std::string group;
  bool all = false;                      // every offset the group has committed
  std::optional<std::string> member_id;  // with an epoch: checked in groups of the consumer protocol
  int32_t member_epoch = -1;
  std::vector<TopicRef> topics;
  std::vector<std::pair<int32_t, int32_t>> partitions;  // topic index, partition
  bool require_stable = false;                          // an offset that is pending in a transaction is unstable_offset
};
struct FetchedOffsets {
  Code code = Code::ok;
  struct One {
    std::string topic;
    TopicId topic_id;
    int32_t partition = 0;
    Code code = Code::ok;
    Offset offset = -1;  // -1: none committed
    LeaderEpoch leader_epoch = -1;
    std::string metadata;
  };
  std::vector<One> offsets;  // asked ones in the order asked
};
struct DescribeGroups {
  std::vector<std::string> groups;
};
struct DescribedGroup {
  Code code = Code::ok;
  std::string group;
  std::string state;  // "Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead"
  std::string protocol_type;
  std::string protocol;
  struct Member {
    std::string id;
    std::optional<std::string> instance_id;
    std::string client_id;
    std::string client_host;
    Bytes metadata;
    Bytes assignment;
  };
  std::vector<Member> members;
};
struct DescribedGroups {
  std::vector<DescribedGroup> groups;
};
struct ListGroups {};
struct ListedGroups {
  struct One {
    std::string group;
    std::string protocol_type;
    std::string state;
    std::string type;  // "classic", "consumer"
  };
  std::vector<One> groups;
};
struct DeleteGroups {
  std::vector<std::string> groups;
};
struct DeletedGroups {
  std::vector<Code> groups;
};

// Drops committed offsets of topics that no member follows.
struct DeleteOffsets {
  std::string group;
  std::vector<TopicRef> topics;
  std::vector<PartitionRef> partitions;
};
struct DeletedOffsets {
  Code code = Code::ok;          // group_not_found; group_not_empty: it cannot be told what its members follow
  std::vector<Code> partitions;  // in the order asked; group_not_empty: a member follows the topic
};

}  // namespace robustmq::broker
