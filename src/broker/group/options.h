// What consumer groups may be told, and what they count. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/describe.h"
#include "broker/menu/queues.h"

namespace robustmq::broker {

// Whether a group may go from client-side to server-side assignment, and back, while it has members.
enum class GroupMigration : uint8_t { disabled, upgrade, downgrade, bidirectional };

}  // namespace robustmq::broker

template <>
struct robustmq::EnumNames<robustmq::broker::GroupMigration> {
  using M = robustmq::broker::GroupMigration;
  static constexpr std::pair<M, std::string_view> values[] = {
      {M::disabled, "disabled"}, {M::upgrade, "upgrade"}, {M::downgrade, "downgrade"}, {M::bidirectional, "bidirectional"}};
};

namespace robustmq::broker {

struct GroupOptions {
  int32_t initial_rebalance_delay_ms = 0;
  int32_t session_timeout_min_ms = 6'000;
  int32_t session_timeout_max_ms = 1'800'000;
  int32_t new_member_join_max_ms = 300'000;
  int32_t members_max = 1'000;
  int32_t groups_max = 10'000;
  int32_t member_bytes_max = 1 << 20;
  int32_t offsets_max = 1'000'000;
  int32_t offset_metadata_bytes_max = 4'096;
  int64_t offsets_retention_ms = 7LL * 24 * 3600 * 1000;
  int64_t offsets_retention_check_ms = 600'000;
  int32_t consumer_session_timeout_ms = 45'000;
  int32_t consumer_session_timeout_min_ms = 45'000;
  int32_t consumer_session_timeout_max_ms = 60'000;
  int32_t consumer_heartbeat_interval_ms = 5'000;
  int32_t consumer_heartbeat_interval_min_ms = 5'000;
  int32_t consumer_heartbeat_interval_max_ms = 15'000;
  int32_t consumer_patterns_max = 1'000;
  std::vector<std::string> consumer_assignors = {"uniform", "range"};
  GroupMigration consumer_migration = GroupMigration::bidirectional;
  QueueSettings::Dispatch queue_dispatch = QueueSettings::Dispatch::round_robin;
  int32_t share_members_max = 200;
  int32_t share_session_timeout_ms = 45'000;
  int32_t share_session_timeout_min_ms = 45'000;
  int32_t share_session_timeout_max_ms = 60'000;
  int32_t share_heartbeat_interval_ms = 5'000;
  int32_t share_heartbeat_interval_min_ms = 5'000;
  int32_t share_heartbeat_interval_max_ms = 15'000;
  int32_t share_record_lock_duration_ms = 30'000;
  int32_t share_record_lock_duration_min_ms = 15'000;
  int32_t share_record_lock_duration_max_ms = 60'000;
  int32_t share_delivery_count_limit = 5;
  int32_t share_delivery_count_limit_min = 2;
  int32_t share_delivery_count_limit_max = 10;
  int32_t share_partition_max_record_locks = 2'000;
  int32_t share_partition_max_record_locks_min = 100;
  int32_t share_partition_max_record_locks_max = 10'000;
  std::string share_dead_letter_prefix = "dlq.";
  bool share_dead_letter_topics_made = false;
  int32_t configs_max = 10'000;
  int64_t lag_check_ms = 10'000;
  int32_t lag_series_max = 2'000;

  template <class V>
  static void describe(V& v) {
    using G = GroupOptions;
    v.field("initial_rebalance_delay_ms", &G::initial_rebalance_delay_ms,
            {.doc = "How long an empty consumer group waits for more members before its first generation; 0 answers the first "
                    "member at once.",
             .unit = "ms",
             .min = 0});
    v.field("session_timeout_min_ms", &G::session_timeout_min_ms,
            {.doc = "Least session timeout a member may ask for.", .unit = "ms", .min = 1});
    v.field("session_timeout_max_ms", &G::session_timeout_max_ms,
            {.doc = "Largest session timeout a member may ask for.", .unit = "ms", .min = 1});
    v.field("new_member_join_max_ms", &G::new_member_join_max_ms,
            {.doc = "How long a member's first join may wait for the others.", .unit = "ms", .min = 1});
    v.field("members_max", &G::members_max, {.doc = "Most members of a consumer group.", .min = 1});
    v.field("groups_max", &G::groups_max, {.doc = "Most consumer groups on this node.", .min = 1});
    v.field("member_bytes_max", &G::member_bytes_max,
            {.doc = "Most bytes of a member's protocols, and of its assignment.", .unit = "bytes", .min = 1024});
    v.field("offsets_max", &G::offsets_max, {.doc = "Most committed offsets (of all consumer groups) on this node.", .min = 1});
    v.field("offset_metadata_bytes_max", &G::offset_metadata_bytes_max,
            {.doc = "Most bytes of the text committed with an offset.", .unit = "bytes", .min = 0});
    v.field(
        "offsets_retention_ms", &G::offsets_retention_ms,
        {.doc =
             "Age at which committed offsets of an empty consumer group are dropped, counted from the latest of the commit, the "
             "moment the group became empty and the start of the node.",
         .unit = "ms",
         .min = 1});
    v.field("offsets_retention_check_ms", &G::offsets_retention_check_ms,
            {.doc = "How often committed offsets are looked at for their age.", .unit = "ms", .min = 10});
    v.field("consumer_session_timeout_ms", &G::consumer_session_timeout_ms,
            {.doc = "With server-side assignment (KIP-848): how long a member may be silent. A group may have its own.",
             .unit = "ms",
             .min = 1});
    v.field("consumer_session_timeout_min_ms", &G::consumer_session_timeout_min_ms,
            {.doc = "Least session timeout that a group may be given.", .unit = "ms", .min = 1});
    v.field("consumer_session_timeout_max_ms", &G::consumer_session_timeout_max_ms,
            {.doc = "Largest session timeout that a group may be given.", .unit = "ms", .min = 1});
    v.field("consumer_heartbeat_interval_ms", &G::consumer_heartbeat_interval_ms,
            {.doc = "With server-side assignment: how often a member is told to send heartbeats. A group may have its own.",
             .unit = "ms",
             .min = 1});
    v.field("consumer_heartbeat_interval_min_ms", &G::consumer_heartbeat_interval_min_ms,
            {.doc = "Least heartbeat interval that a group may be given.", .unit = "ms", .min = 1});
    v.field("consumer_heartbeat_interval_max_ms", &G::consumer_heartbeat_interval_max_ms,
            {.doc = "Largest heartbeat interval that a group may be given.", .unit = "ms", .min = 1});
    v.field(
        "consumer_patterns_max", &G::consumer_patterns_max,
        {.doc = "Most regular expressions over topics that members of all consumer groups follow at a time; each may take 1 MiB.",
         .min = 0});
    v.field(
        "consumer_assignors", &G::consumer_assignors,
        {.doc =
             "The server's assignors that members may ask for, of `uniform` and `range`; the first is used where nobody asks."});
    v.field("consumer_migration", &G::consumer_migration,
            {.doc = "Whether a group with members may go from client-side to server-side assignment (`upgrade`), back "
                    "(`downgrade`), both (`bidirectional`) or neither (`disabled`)."});
    v.field("queue_dispatch", &G::queue_dispatch,
            {.doc = "Who of the subscribers to a queue (`$queue/name`) gets the next message: round_robin, random or "
                    "least_inflight. A queue may have its own."});
    v.field("share_members_max", &G::share_members_max, {.doc = "Most members of a share group.", .min = 1, .max = 10'000});
    v.field("share_session_timeout_ms", &G::share_session_timeout_ms,
            {.doc = "In share groups: how long a member may be silent. A group may have its own.", .unit = "ms", .min = 1});
    v.field("share_session_timeout_min_ms", &G::share_session_timeout_min_ms,
            {.doc = "Least session timeout that a share group may be given.", .unit = "ms", .min = 1});
    v.field("share_session_timeout_max_ms", &G::share_session_timeout_max_ms,
            {.doc = "Largest session timeout that a share group may be given.", .unit = "ms", .min = 1});
    v.field("share_heartbeat_interval_ms", &G::share_heartbeat_interval_ms,
            {.doc = "In share groups: how often a member is told to send heartbeats. A group may have its own.",
             .unit = "ms",
             .min = 1});
    v.field("share_heartbeat_interval_min_ms", &G::share_heartbeat_interval_min_ms,
            {.doc = "Least heartbeat interval that a share group may be given.", .unit = "ms", .min = 1});
    v.field("share_heartbeat_interval_max_ms", &G::share_heartbeat_interval_max_ms,
            {.doc = "Largest heartbeat interval that a share group may be given.", .unit = "ms", .min = 1});
    v.field("share_record_lock_duration_ms", &G::share_record_lock_duration_ms,
            {.doc = "How long a record of a share group is a member's before it goes to another. A group may have its own.",
             .unit = "ms",
             .min = 1,
             .max = 3'600'000});
    v.field("share_record_lock_duration_min_ms", &G::share_record_lock_duration_min_ms,
            {.doc = "Least lock duration that a share group may be given.", .unit = "ms", .min = 1, .max = 3'600'000});
    v.field("share_record_lock_duration_max_ms", &G::share_record_lock_duration_max_ms,
            {.doc = "Largest lock duration that a share group may be given.", .unit = "ms", .min = 1, .max = 3'600'000});
    v.field(
        "share_delivery_count_limit", &G::share_delivery_count_limit,
        {.doc = "Deliveries of a record of a share group that was never accepted, after which it is given to nobody any more. A "
                "group may have its own.",
         .min = 1,
         .max = 65'535});
    v.field("share_delivery_count_limit_min", &G::share_delivery_count_limit_min,
            {.doc = "Least limit of deliveries that a share group may be given.", .min = 1, .max = 65'535});
    v.field("share_delivery_count_limit_max", &G::share_delivery_count_limit_max,
            {.doc = "Largest limit of deliveries that a share group may be given.", .min = 1, .max = 65'535});
    v.field("share_partition_max_record_locks", &G::share_partition_max_record_locks,
            {.doc = "Most records of a partition that the members of a share group hold at once. A group may have its own.",
             .min = 1,
             .max = 100'000});
    v.field("share_partition_max_record_locks_min", &G::share_partition_max_record_locks_min,
            {.doc = "Least such number that a share group may be given.", .min = 1, .max = 100'000});
    v.field("share_partition_max_record_locks_max", &G::share_partition_max_record_locks_max,
            {.doc = "Largest such number that a share group may be given.", .min = 1, .max = 100'000});
    v.field("share_dead_letter_prefix", &G::share_dead_letter_prefix,
            {.doc = "What the name of a share group's dead letter topic must begin with; empty: anything."});
    v.field("share_dead_letter_topics_made", &G::share_dead_letter_topics_made,
            {.doc = "Whether a share group's dead letter topic is made where it is not there."});
    v.field("lag_check_ms", &G::lag_check_ms,
            {.doc = "How often the lag of consumer groups and share groups in `/metrics` is looked at; 0: never.",
             .unit = "ms",
             .min = 0});
    v.field("lag_series_max", &G::lag_series_max,
            {.doc = "Most partitions of consumer groups, and as many of share groups, whose lag is in `/metrics`.", .min = 0});
    v.field("configs_max", &G::configs_max, {.doc = "Most consumer groups with settings of their own.", .min = 0});
  }
};

// Counted where the coordinator lives.
struct GroupMetrics {
  uint64_t rebalances_total = 0;
  uint64_t members_expired_total = 0;
  uint64_t members_refused_total = 0;
  uint64_t offsets_committed_total = 0;
  uint64_t offsets_refused_total = 0;
  uint64_t offsets_expired_total = 0;
  int64_t groups = 0;
  int64_t members = 0;
  int64_t offsets = 0;
  int64_t lag_left_out = 0;
  int64_t share_lag_left_out = 0;
  int64_t patterns = 0;

  template <class V>
  static void describe(V& v) {
    using M = GroupMetrics;
    v.field("rebalances_total", &M::rebalances_total, {.doc = "Generations that consumer groups have begun."});
    v.field("members_expired_total", &M::members_expired_total,
            {.doc = "Members of consumer groups dropped because they fell silent."});
    v.field("members_refused_total", &M::members_refused_total, {.doc = "Members refused because of a limit."});
    v.field("offsets_committed_total", &M::offsets_committed_total, {.doc = "Offsets committed by consumer groups."});
    v.field("offsets_refused_total", &M::offsets_refused_total, {.doc = "Offset commits refused because of a limit."});
    v.field("offsets_expired_total", &M::offsets_expired_total, {.doc = "Committed offsets dropped by age or with their topic."});
    v.field("groups", &M::groups, {.doc = "Consumer groups."});
    v.field("members", &M::members, {.doc = "Members of consumer groups."});
    v.field("offsets", &M::offsets, {.doc = "Committed offsets kept."});
    v.field("patterns", &M::patterns, {.doc = "Regular expressions over topics that members of consumer groups follow."});
    v.field("lag_left_out", &M::lag_left_out,
            {.doc = "Partitions of consumer groups whose lag is not shown as robustmq_consumer_group_lag, for want of room."});
    v.field("share_lag_left_out", &M::share_lag_left_out,
            {.doc = "Partitions of share groups whose lag is not shown as robustmq_share_group_lag, for want of room."});
  }
};

}  // namespace robustmq::broker
