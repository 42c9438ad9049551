// What the catalog knows of a stream: its name, id, partitions and settings. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/describe.h"
#include "base/ids.h"

namespace robustmq::meta {

// A topic's durability class (ARCHITECTURE.md, "What an ack means"). tiered is named and not built yet.
enum class Mode : uint8_t { none = 0, memory = 1, hybrid = 2, persistent = 3, tiered = 4 };

// What becomes of old records: dropped by retention, compacted (of each key the newest stays), both, or neither. Bits.
enum class CleanupPolicy : uint8_t { keep = 0, remove = 1, compact = 2, compact_and_remove = 3 };

}  // namespace robustmq::meta

template <>
struct robustmq::EnumNames<robustmq::meta::CleanupPolicy> {
  using P = robustmq::meta::CleanupPolicy;
  static constexpr std::pair<P, std::string_view> values[] = {
      {P::keep, ""}, {P::remove, "delete"}, {P::compact, "compact"}, {P::compact_and_remove, "compact,delete"}};
};

template <>
struct robustmq::EnumNames<robustmq::meta::Mode> {
  using M = robustmq::meta::Mode;
  static constexpr std::pair<M, std::string_view> values[] = {
      {M::none, "none"}, {M::memory, "memory"}, {M::hybrid, "hybrid"}, {M::persistent, "persistent"}, {M::tiered, "tiered"}};
};

namespace robustmq::meta {

constexpr bool is_built(Mode mode) { return mode != Mode::tiered; }

constexpr bool compacts(CleanupPolicy policy) { return (static_cast<uint8_t>(policy) & 2) != 0; }
constexpr bool removes(CleanupPolicy policy) { return (static_cast<uint8_t>(policy) & 1) != 0; }

// A setting of another protocol that has no effect here: kept and shown under that protocol's name.
struct KeptSetting {
  std::string name;
  std::string value;

  template <class V>
  static void describe(V& v) {
    v.field("name", &KeptSetting::name);
    v.field("value", &KeptSetting::value);
  }
  bool operator==(const KeptSetting&) const = default;
};

// A topic's settings. Kafka's names for them are mapped in protocol/kafka.
struct TopicConfig {
  Mode mode = Mode::persistent;
  int64_t retention_ms = 7LL * 24 * 3600 * 1000;
  int64_t retention_bytes = -1;
  int64_t segment_bytes = 256LL << 20;
  int64_t segment_ms = 7LL * 24 * 3600 * 1000;
  int32_t message_bytes_max = 1'048'588;
  bool log_append_time = false;
  int64_t timestamp_before_max_ms = INT64_MAX;
  int64_t timestamp_after_max_ms = 3'600'000;
  std::vector<KeptSetting> kept;  // by name
  CleanupPolicy cleanup_policy = CleanupPolicy::remove;
  int64_t delete_retention_ms = 86'400'000;
  double dirty_ratio_min = 0.5;
  int64_t compaction_lag_min_ms = 0;
  int64_t compaction_lag_max_ms = INT64_MAX;
  bool takes_dead_letters = false;
  int64_t flush_ms = INT64_MAX;
  int64_t flush_messages = INT64_MAX;

  bool operator==(const TopicConfig&) const = default;
  template <class V>
  static void describe(V& v) {
    v.field("mode", &TopicConfig::mode, {.doc = "What an ack means: none, memory, hybrid or persistent."});
    v.field("retention_ms", &TopicConfig::retention_ms,
            {.doc = "Age at which records are dropped; -1 keeps them.", .unit = "ms", .min = -1});
    v.field(
        "retention_bytes", &TopicConfig::retention_bytes,
        {.doc = "Size of a partition above which the oldest segments are dropped; -1 keeps them.", .unit = "bytes", .min = -1});
    v.field("segment_bytes", &TopicConfig::segment_bytes,
            {.doc = "Size at which a segment is sealed.", .unit = "bytes", .min = 1 << 14});
    v.field("segment_ms", &TopicConfig::segment_ms, {.doc = "Age at which a segment is sealed.", .unit = "ms", .min = 1});
    v.field("message_bytes_max", &TopicConfig::message_bytes_max,
            {.doc = "Largest record batch taken, as stored.", .unit = "bytes", .min = 0});
    v.field("log_append_time", &TopicConfig::log_append_time,
            {.doc = "Stamp records with the broker's time instead of the producer's."});
    v.field("timestamp_before_max_ms", &TopicConfig::timestamp_before_max_ms,
            {.doc = "How far a record's time may lie before the broker's; older ones are refused.", .unit = "ms", .min = 0});
    v.field("timestamp_after_max_ms", &TopicConfig::timestamp_after_max_ms,
            {.doc = "How far a record's time may lie after the broker's; later ones are refused.", .unit = "ms", .min = 0});
    v.field("kept", &TopicConfig::kept, {.doc = "Settings of other protocols without effect here."});
    v.field(
        "cleanup_policy", &TopicConfig::cleanup_policy,
        {.doc = "What becomes of old records: delete (by retention), compact (of each key the newest stays), compact,delete, or "
                "empty: neither."});
    v.field("delete_retention_ms", &TopicConfig::delete_retention_ms,
            {.doc = "How long compaction leaves a tombstone or the marker of a transaction after it first met it.",
             .unit = "ms",
             .min = 0});
    v.field("dirty_ratio_min", &TopicConfig::dirty_ratio_min,
            {.doc = "Share of a partition's bytes that must be new for it to be compacted.", .min = 0, .max = 1});
    v.field("compaction_lag_min_ms", &TopicConfig::compaction_lag_min_ms,
            {.doc = "Age below which records are not compacted.", .unit = "ms", .min = 0});
    v.field("compaction_lag_max_ms", &TopicConfig::compaction_lag_max_ms,
            {.doc = "Age at which records are compacted, however few they are.", .unit = "ms", .min = 1});
    v.field("takes_dead_letters", &TopicConfig::takes_dead_letters,
            {.doc = "Whether dead letters of share groups may be written to it."});
    v.field("flush_ms", &TopicConfig::flush_ms,
            {.doc = "Mode hybrid: what is acknowledged is synced within this time; not set: the node's hybrid_window_ms. Other "
                    "modes only show it.",
             .unit = "ms",
             .min = 0});
    v.field(
        "flush_messages", &TopicConfig::flush_messages,
        {.doc = "Mode hybrid: fewer messages than this may be acknowledged and not synced. Other modes only show it.", .min = 1});
  }
};

struct Topic {
  TenantId tenant = kDefaultTenant;
  std::string name;  // Kafka's spelling
  TopicId id;
  int32_t partitions = 1;
  TopicConfig config;
  std::string mqtt_filter;  // of the topic rule that made it; empty otherwise
  bool is_rule = false;     // that rule is this row, made at run time: it is there as long as the topic
  // Its partitions go on there at the least: offsets below may have been given in a mode whose records are gone.
  Offset offset_floor = 0;

  template <class V>
  static void describe(V& v) {
    v.field("tenant", &Topic::tenant);
    v.field("name", &Topic::name);
    v.field("id", &Topic::id);
    v.field("partitions", &Topic::partitions);
    v.field("config", &Topic::config);
    v.field("mqtt_filter", &Topic::mqtt_filter);
    v.field("is_rule", &Topic::is_rule);
    v.field("offset_floor", &Topic::offset_floor);
  }
};

}  // namespace robustmq::meta
