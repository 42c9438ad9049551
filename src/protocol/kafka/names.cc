// Kafka's names of topic settings, and ours. Pure.
#include "protocol/kafka/names.h"

#include <charconv>
#include <cstdint>

namespace robustmq::kafka {

namespace {

constexpr std::string_view kTimestampType = "message.timestamp.type";

template <class Row, size_t N>
const Row* find(const Row (&rows)[N], std::string_view Row::* name, std::string_view wanted) {
  for (const Row& row : rows) {
    if (row.*name == wanted) return &row;
  }
  return nullptr;
}

}  // namespace

const TopicSetting kTopicSettings[17] = {
    {"cleanup.policy", "cleanup_policy", ConfigType::list, "log.cleanup.policy",
     "delete drops old records, compact keeps of each key the newest; both, or none, may be given."},
    {"delete.retention.ms", "delete_retention_ms", ConfigType::int64, "log.cleaner.delete.retention.ms",
     "How long compaction leaves a tombstone after it first met it."},
    {"errors.deadletterqueue.group.enable", "takes_dead_letters", ConfigType::boolean, "",
     "Whether dead letters of share groups may be written to it."},
    {"flush.messages", "flush_messages", ConfigType::int64, "log.flush.interval.messages",
     "Mode hybrid: fewer messages than this may be acknowledged and not synced. In mode persistent what is acknowledged is "
     "synced."},
    {"flush.ms", "flush_ms", ConfigType::int64, "log.flush.interval.ms",
     "Mode hybrid: what is acknowledged is synced within this time. In mode persistent it is synced before."},
    {"max.compaction.lag.ms", "compaction_lag_max_ms", ConfigType::int64, "log.cleaner.max.compaction.lag.ms",
     "Age at which records are compacted, however few they are."},
    {"max.message.bytes", "message_bytes_max", ConfigType::int32, "message.max.bytes", "Largest record batch taken, as stored."},
    {"message.timestamp.after.max.ms", "timestamp_after_max_ms", ConfigType::int64, "log.message.timestamp.after.max.ms",
     "How far a record's time may lie after the broker's; later ones are refused."},
    {"message.timestamp.before.max.ms", "timestamp_before_max_ms", ConfigType::int64, "log.message.timestamp.before.max.ms",
     "How far a record's time may lie before the broker's; older ones are refused."},
    {kTimestampType, "log_append_time", ConfigType::string, "log.message.timestamp.type",
     "CreateTime keeps the producer's time, LogAppendTime sets the broker's."},
    {"min.cleanable.dirty.ratio", "dirty_ratio_min", ConfigType::real, "log.cleaner.min.cleanable.ratio",
     "Share of a partition's bytes that must be new for it to be compacted."},
    {"min.compaction.lag.ms", "compaction_lag_min_ms", ConfigType::int64, "log.cleaner.min.compaction.lag.ms",
     "Age below which records are not compacted."},
    {"retention.bytes", "retention_bytes", ConfigType::int64, "log.retention.bytes",
     "Size of a partition above which the oldest segments are dropped; -1 keeps them."},
    {"retention.ms", "retention_ms", ConfigType::int64, "log.retention.ms", "Age at which records are dropped; -1 keeps them."},
    {"robustmq.mode", "mode", ConfigType::string, "robustmq.mode", "What an ack means: none, memory, hybrid or persistent."},
    {"segment.bytes", "segment_bytes", ConfigType::int32, "log.segment.bytes", "Size at which a segment is sealed."},
    {"segment.ms", "segment_ms", ConfigType::int64, "log.roll.ms", "Age at which a segment is sealed."},
};

namespace {
constexpr double kInt32 = INT32_MAX;
constexpr double kInt64 = 9223372036854775807.0;
}  // namespace

const KeptTopicSetting kKeptTopicSettings[15] = {
    {"compression.gzip.level", "-1", ConfigType::int32, -1, 9, "Batches are stored as the producer compressed them."},
    {"compression.lz4.level", "9", ConfigType::int32, 1, 17, "Batches are stored as the producer compressed them."},
    {"compression.zstd.level", "3", ConfigType::int32, -131072, 22, "Batches are stored as the producer compressed them."},
    {"file.delete.delay.ms", "60000", ConfigType::int64, 0, kInt64, "Files go at once; who reads one keeps it."},
    {"follower.replication.throttled.replicas", "", ConfigType::list, 0, 0, "There is one replica."},
    {"index.interval.bytes", "4096", ConfigType::int32, 0, kInt32, "An option of the node."},
    {"leader.replication.throttled.replicas", "", ConfigType::list, 0, 0, "There is one replica."},
    {"local.retention.bytes", "-2", ConfigType::int64, -2, kInt64, "Sealed segments stay on this node."},
    {"local.retention.ms", "-2", ConfigType::int64, -2, kInt64, "Sealed segments stay on this node."},
    {"preallocate", "false", ConfigType::boolean, 0, 0, "Segments grow as they are written."},
    {"remote.log.copy.disable", "false", ConfigType::boolean, 0, 0, "Sealed segments stay on this node."},
    {"remote.log.delete.on.disable", "false", ConfigType::boolean, 0, 0, "Sealed segments stay on this node."},
    {"segment.index.bytes", "10485760", ConfigType::int32, 4, kInt32, "Indexes grow as they are needed."},
    {"segment.jitter.ms", "0", ConfigType::int64, 0, kInt64, "Segments are sealed at their age exactly."},
    {"unclean.leader.election.enable", "false", ConfigType::boolean, 0, 0, "There is one replica."},
};

const FixedSetting kFixedTopicSettings[3] = {
    {"compression.type", "producer", ConfigType::string, "Batches are stored as the producer compressed them."},
    {"min.insync.replicas", "1", ConfigType::int32, "Replicas that must have a record before acks=all is answered."},
    {"remote.storage.enable", "false", ConfigType::boolean, "Sealed segments stay on this node."},
};

const KeptTopicSetting* kept_topic_setting(std::string_view kafka_name) {
  return find(kKeptTopicSettings, &KeptTopicSetting::kafka_name, kafka_name);
}

bool is_valid_kept(const KeptTopicSetting& setting, std::string_view value) {
  switch (setting.type) {
    case ConfigType::boolean:
      return value == "true" || value == "false";
    case ConfigType::int32:
    case ConfigType::int64: {
      int64_t number = 0;
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
      const auto as_real = static_cast<double>(number);
      return error == std::errc{} && end == value.data() + value.size() && as_real >= setting.min && as_real <= setting.max;
    }
    case ConfigType::real: {
      double number = 0;
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
      return error == std::errc{} && end == value.data() + value.size() && number >= setting.min && number <= setting.max;
    }
    case ConfigType::string:
    case ConfigType::list:
      return true;
  }
  return false;
}

NamedSetting read_topic_setting(std::string_view kafka_name, std::string_view value) {
  const std::string name(kafka_name);
  if (const FixedSetting* fixed = fixed_topic_setting(kafka_name)) {
    if (fixed->value == value) return {};
    return {{}, {}, name + " can only be " + std::string(fixed->value)};
  }
  if (const KeptTopicSetting* kept = kept_topic_setting(kafka_name)) {
    if (!is_valid_kept(*kept, value)) return {{}, {}, "invalid value " + std::string(value) + " of " + name};
    return {std::string(kKeptPrefix) + name, std::string(value), {}};
  }
  const TopicSetting* setting = topic_setting_of_kafka(kafka_name);
  if (!setting) return {{}, {}, "unknown topic config name: " + name};
  std::optional<std::string> ours = setting_from_kafka(*setting, value);
  if (!ours) return {{}, {}, "invalid value " + std::string(value) + " of " + name};
  return {std::string(setting->our_name), std::move(*ours), {}};
}

const TopicSetting* topic_setting_of_kafka(std::string_view kafka_name) {
  return find(kTopicSettings, &TopicSetting::kafka_name, kafka_name);
}
const TopicSetting* topic_setting_of_ours(std::string_view our_name) {
  return find(kTopicSettings, &TopicSetting::our_name, our_name);
}
const FixedSetting* fixed_topic_setting(std::string_view kafka_name) {
  return find(kFixedTopicSettings, &FixedSetting::kafka_name, kafka_name);
}

std::optional<std::string> setting_from_kafka(const TopicSetting& setting, std::string_view value) {
  if (setting.kafka_name != kTimestampType) return std::string(value);
  if (value == "CreateTime") return "false";
  if (value == "LogAppendTime") return "true";
  return std::nullopt;
}

std::string setting_to_kafka(const TopicSetting& setting, std::string_view value) {
  if (setting.kafka_name != kTimestampType) return std::string(value);
  return value == "true" ? "LogAppendTime" : "CreateTime";
}

}  // namespace robustmq::kafka
