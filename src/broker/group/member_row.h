// What is stored of a consumer group with server-side assignment, and of any group's settings. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/describe.h"
#include "base/ids.h"

namespace robustmq::broker {

// Settings of one consumer group; -1: the node's.
struct GroupConfig {
  int32_t consumer_session_timeout_ms = -1;
  int32_t consumer_heartbeat_interval_ms = -1;
  int32_t share_session_timeout_ms = -1;
  int32_t share_heartbeat_interval_ms = -1;
  int32_t share_record_lock_duration_ms = -1;
  int32_t share_delivery_count_limit = -1;
  int32_t share_partition_max_record_locks = -1;
  std::string share_isolation_level;  // empty, here and below: as without it
  std::string share_auto_offset_reset;
  std::string share_renew_acknowledge_enable;
  std::string share_dead_letter_topic;
  std::string share_dead_letter_copies;
  std::string queue_dispatch;
  std::string queue_last_value;

  bool operator==(const GroupConfig&) const = default;
  template <class V>
  static void describe(V& v) {
    using G = GroupConfig;
    v.field("consumer_session_timeout_ms", &G::consumer_session_timeout_ms);
    v.field("consumer_heartbeat_interval_ms", &G::consumer_heartbeat_interval_ms);
    v.field("share_session_timeout_ms", &G::share_session_timeout_ms);
    v.field("share_heartbeat_interval_ms", &G::share_heartbeat_interval_ms);
    v.field("share_record_lock_duration_ms", &G::share_record_lock_duration_ms);
    v.field("share_delivery_count_limit", &G::share_delivery_count_limit);
    v.field("share_partition_max_record_locks", &G::share_partition_max_record_locks);
    v.field("share_isolation_level", &G::share_isolation_level);
    v.field("share_auto_offset_reset", &G::share_auto_offset_reset);
    v.field("share_renew_acknowledge_enable", &G::share_renew_acknowledge_enable);
    v.field("share_dead_letter_topic", &G::share_dead_letter_topic);
    v.field("share_dead_letter_copies", &G::share_dead_letter_copies);
    v.field("queue_dispatch", &G::queue_dispatch);
    v.field("queue_last_value", &G::queue_last_value);
  }
};

struct GroupEpochRow {
  int32_t epoch = 0;

  template <class V>
  static void describe(V& v) {
    v.field("epoch", &GroupEpochRow::epoch);
  }
};

// A share group: there as long as it is one. Its members are not stored.
struct ShareGroupRow {
  int32_t epoch = 0;
  std::vector<TopicId> topics;  // that it has queues over

  template <class V>
  static void describe(V& v) {
    v.field("epoch", &ShareGroupRow::epoch);
    v.field("topics", &ShareGroupRow::topics);
  }
};

struct PartitionRow {
  TopicId topic;
  int32_t partition = 0;

  template <class V>
  static void describe(V& v) {
    v.field("topic", &PartitionRow::topic);
    v.field("partition", &PartitionRow::partition);
  }
};

// A member: what it is to be known by, and what it has. The target is not stored, it follows from these.
struct MemberRow {
  int32_t epoch = 0;
  int32_t previous_epoch = 0;
  std::string instance_id;
  std::string rack_id;
  std::string client_id;
  std::string client_host;
  int32_t rebalance_timeout_ms = 0;
  std::vector<std::string> topics;
  std::string pattern;
  std::string assignor;
  std::vector<PartitionRow> assigned;
  std::vector<PartitionRow> revoking;

  template <class V>
  static void describe(V& v) {
    using M = MemberRow;
    v.field("epoch", &M::epoch);
    v.field("previous_epoch", &M::previous_epoch);
    v.field("instance_id", &M::instance_id);
    v.field("rack_id", &M::rack_id);
    v.field("client_id", &M::client_id);
    v.field("client_host", &M::client_host);
    v.field("rebalance_timeout_ms", &M::rebalance_timeout_ms);
    v.field("topics", &M::topics);
    v.field("pattern", &M::pattern);
    v.field("assignor", &M::assignor);
    v.field("assigned", &M::assigned);
    v.field("revoking", &M::revoking);
  }
};

}  // namespace robustmq::broker
