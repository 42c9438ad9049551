// The catalog's commands, replies and snapshot, as stored and sent: described structs in base/wire.h's format. A command is its
// kind (1 byte) and its struct. Pure.
//
// Every command carries a request id drawn by its proposer: proposed again with the same id, it has no second effect and the
// first reply. Whatever is random in a command (ids) is drawn by the proposer too.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/wire.h"
#include "meta/topic.h"
#include "meta/topic_check.h"
#include "meta/topic_settings.h"

namespace robustmq::meta {

// What a build understands of the catalog; behaviour that older nodes would not share waits for the level to be raised.
constexpr uint32_t kFeatureLevelMin = 1;
constexpr uint32_t kFeatureLevelMax = 5;
constexpr uint32_t kTopicChangesLevel = 2;  // grow_topic, configure_topic
constexpr uint32_t kCompactionLevel = 3;    // other cleanup policies than delete: older nodes would drop what is to stay
constexpr uint32_t kTopicRuleLevel = 4;     // topics that are topic rules: older nodes would send their messages elsewhere
constexpr uint32_t kModesLevel = 5;         // mode hybrid, and modes that change: older nodes would give offsets twice

enum class CommandKind : uint8_t {
  node_started = 1,
  create_topic = 2,
  delete_topic = 3,
  allocate_producer_ids = 4,
  raise_feature_level = 5,
  grow_topic = 6,
  configure_topic = 7,
};

// Counts the node's starts; the first one gives the cluster its id and feature level. Value: starts of the node.
// Error: not_supported when the catalog is at a feature level that the node does not have.
struct NodeStarted {
  static constexpr CommandKind kKind = CommandKind::node_started;
  Uuid request;
  NodeId node = 0;
  Uuid cluster_id;  // taken when there is none yet
  uint32_t feature_level_max = kFeatureLevelMax;

  template <class V>
  static void describe(V& v) {
    v.field("request", &NodeStarted::request);
    v.field("node", &NodeStarted::node);
    v.field("cluster_id", &NodeStarted::cluster_id);
    v.field("feature_level_max", &NodeStarted::feature_level_max);
  }
};

// Errors: topic_exists, invalid_topic, invalid_partitions, quota_exceeded; of a topic that is a rule not_supported, where others
// claim topics that it would.
struct CreateTopic {
  static constexpr CommandKind kKind = CommandKind::create_topic;
  Uuid request;
  Topic topic;
  CatalogLimits limits;

  template <class V>
  static void describe(V& v) {
    v.field("request", &CreateTopic::request);
    v.field("topic", &CreateTopic::topic);
    v.field("limits", &CreateTopic::limits);
  }
};

// Error: unknown_topic_id.
struct DeleteTopic {
  static constexpr CommandKind kKind = CommandKind::delete_topic;
  Uuid request;
  TopicId id;

  template <class V>
  static void describe(V& v) {
    v.field("request", &DeleteTopic::request);
    v.field("id", &DeleteTopic::id);
  }
};

// Value: the first of `count` producer ids that nobody else gets.
struct AllocateProducerIds {
  static constexpr CommandKind kKind = CommandKind::allocate_producer_ids;
  Uuid request;
  int64_t count = 0;

  template <class V>
  static void describe(V& v) {
    v.field("request", &AllocateProducerIds::request);
    v.field("count", &AllocateProducerIds::count);
  }
};

// Once every node of the cluster understands `level`. Error: invalid_argument when it is lower than the present one.
struct RaiseFeatureLevel {
  static constexpr CommandKind kKind = CommandKind::raise_feature_level;
  Uuid request;
  uint32_t level = 0;

  template <class V>
  static void describe(V& v) {
    v.field("request", &RaiseFeatureLevel::request);
    v.field("level", &RaiseFeatureLevel::level);
  }
};

// Gives a topic more partitions. Errors: unknown_topic_id, invalid_partitions (not more than it has), quota_exceeded.
struct GrowTopic {
  static constexpr CommandKind kKind = CommandKind::grow_topic;
  Uuid request;
  TopicId id;
  int32_t partitions = 0;
  CatalogLimits limits;

  template <class V>
  static void describe(V& v) {
    v.field("request", &GrowTopic::request);
    v.field("id", &GrowTopic::id);
    v.field("partitions", &GrowTopic::partitions);
    v.field("limits", &GrowTopic::limits);
  }
};

// Changes settings of a topic, all or none; the mode stays where it is not named. Errors: unknown_topic_id, invalid_config.
struct ConfigureTopic {
  static constexpr CommandKind kKind = CommandKind::configure_topic;
  struct Change {
    std::string name;
    std::string value;
    uint32_t how = 0;  // SettingChange::How

    template <class V>
    static void describe(V& v) {
      v.field("name", &Change::name);
      v.field("value", &Change::value);
      v.field("how", &Change::how);
    }
  };
  Uuid request;
  TopicId id;
  bool replaces_all = false;  // what is not named gets its default
  std::vector<Change> changes;
  CatalogLimits limits;

  template <class V>
  static void describe(V& v) {
    v.field("request", &ConfigureTopic::request);
    v.field("id", &ConfigureTopic::id);
    v.field("replaces_all", &ConfigureTopic::replaces_all);
    v.field("changes", &ConfigureTopic::changes);
    v.field("limits", &ConfigureTopic::limits);
  }
};

template <class Command>
Bytes encode_command(const Command& command) {
  Buffer buffer;
  buffer.append_u8(static_cast<uint8_t>(Command::kKind));
  encode_described(command, buffer);
  return buffer.take();
}

struct CatalogReply {
  std::string code;  // code_name; "ok" when the command took effect
  std::string detail;
  int64_t value = 0;

  template <class V>
  static void describe(V& v) {
    v.field("code", &CatalogReply::code);
    v.field("detail", &CatalogReply::detail);
    v.field("value", &CatalogReply::value);
  }
};

// The value, or the error. A code that this build does not know is `internal` with the name in the detail.
Result<int64_t> decode_reply(ByteSpan reply);

struct NodeRow {
  NodeId id = 0;
  int64_t starts = 0;

  template <class V>
  static void describe(V& v) {
    v.field("id", &NodeRow::id);
    v.field("starts", &NodeRow::starts);
  }
};

struct RequestRow {
  Uuid id;
  int64_t value = 0;

  template <class V>
  static void describe(V& v) {
    v.field("id", &RequestRow::id);
    v.field("value", &RequestRow::value);
  }
};

struct CatalogSnapshot {
  Uuid cluster_id;
  uint32_t feature_level = 0;
  ProducerId next_producer_id = 0;
  std::vector<NodeRow> nodes;        // by id
  std::vector<Topic> topics;         // by id
  std::vector<RequestRow> requests;  // oldest first

  template <class V>
  static void describe(V& v) {
    using S = CatalogSnapshot;
    v.field("cluster_id", &S::cluster_id);
    v.field("feature_level", &S::feature_level);
    v.field("next_producer_id", &S::next_producer_id);
    v.field("nodes", &S::nodes);
    v.field("topics", &S::topics);
    v.field("requests", &S::requests);
  }
};

}  // namespace robustmq::meta
