// The menu: consumer groups with server-side assignment (KIP-848; the words are Kafka's), and settings of groups. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "broker/menu/topics.h"

namespace robustmq::broker {

struct AssignedTopic {
  TopicId topic;
  std::vector<int32_t> partitions;
  bool operator==(const AssignedTopic&) const = default;
};
// A member's whole part in its group. What is nullopt (a rebalance timeout of -1) is as it was.
struct HeartbeatConsumer {
  std::string group;
  std::string member_id;     // drawn by the member; empty: by the coordinator
  int32_t member_epoch = 0;  // 0: joins; -1: leaves; -2: a static member that will come back
  std::optional<std::string> instance_id;
  std::optional<std::string> rack_id;
  int32_t rebalance_timeout_ms = -1;
  std::optional<std::vector<std::string>> topics;   // followed by name
  std::optional<std::string> topic_pattern;         // followed by RE2 expression; empty: none
  std::optional<std::string> assignor;              // wanted; empty: any
  std::optional<std::vector<AssignedTopic>> owned;  // what the member has
  bool must_draw_id = true;                         // a member without an id is refused (version 1 and later)
  std::string client_id;
  std::string client_host;
};
struct ConsumerHeartbeatReply {
  Code code = Code::ok;
  std::string detail;
  std::string member_id;
  int32_t member_epoch = 0;
  int32_t heartbeat_interval_ms = 0;
  std::optional<std::vector<AssignedTopic>> assignment;  // nullopt: as it was
};
struct DescribeConsumers {
  std::vector<std::string> groups;
};
struct DescribedConsumers {
  struct Topic {
    TopicId id;
    std::string name;
    std::vector<int32_t> partitions;
  };
  struct Member {
    std::string id;
    std::optional<std::string> instance_id;
    std::optional<std::string> rack_id;
    int32_t epoch = 0;
    std::string client_id;
    std::string client_host;
    std::vector<std::string> topics;
    std::string topic_pattern;
    std::vector<Topic> assigned;
    std::vector<Topic> target;
    bool is_classic = false;  // a member of the classic protocol
  };
  struct One {
    Code code = Code::ok;  // group_not_found
    std::string detail;
    std::string group;
    std::string state;  // "Empty", "Assigning", "Reconciling", "Stable"
    int32_t epoch = 0;
    int32_t assignment_epoch = 0;
    std::string assignor;
    std::vector<Member> members;
  };
  std::vector<One> groups;  // in the order asked
};

// Settings of consumer groups, by the names of broker::GroupConfig's fields; a group need not be there to have some.
struct ConfigureGroups {
  std::vector<ConfigureTopics::One> groups;
  bool validate_only = false;
};
struct ConfiguredGroups {
  std::vector<ConfiguredTopics::One> groups;
};
struct DescribeGroupConfigs {
  bool all = false;  // those that have settings of their own
  std::vector<std::string> groups;
};
struct DescribedGroupConfigs {
  struct One {
    std::string group;
    std::vector<TopicFacts::Setting> settings;
  };
  std::vector<One> groups;
};

}  // namespace robustmq::broker
