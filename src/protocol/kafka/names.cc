// Kafka's names of topic settings, and ours. Pure.
#include "protocol/kafka/names.h"

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

const TopicSetting kTopicSettings[7] = {
    {"max.message.bytes", "message_bytes_max", ConfigType::int32, "message.max.bytes", "Largest record batch taken, as stored."},
    {kTimestampType, "log_append_time", ConfigType::string, "log.message.timestamp.type",
     "CreateTime keeps the producer's time, LogAppendTime sets the broker's."},
    {"retention.bytes", "retention_bytes", ConfigType::int64, "log.retention.bytes",
     "Size of a partition above which the oldest segments are dropped; -1 keeps them."},
    {"retention.ms", "retention_ms", ConfigType::int64, "log.retention.ms", "Age at which records are dropped; -1 keeps them."},
    {"robustmq.mode", "mode", ConfigType::string, "robustmq.mode", "What an ack means: none, memory or persistent."},
    {"segment.bytes", "segment_bytes", ConfigType::int32, "log.segment.bytes", "Size at which a segment is sealed."},
    {"segment.ms", "segment_ms", ConfigType::int64, "log.roll.ms", "Age at which a segment is sealed."},
};

const FixedSetting kFixedTopicSettings[8] = {
    {"cleanup.policy", "delete", ConfigType::list, "Old records are dropped; logs are not compacted."},
    {"compression.type", "producer", ConfigType::string, "Batches are stored as the producer compressed them."},
    {"min.insync.replicas", "1", ConfigType::int32, "Replicas that must have a record before acks=all is answered."},
    {"preallocate", "false", ConfigType::boolean, "Segments grow as they are written."},
    {"remote.storage.enable", "false", ConfigType::boolean, "Sealed segments stay on this node."},
    {"segment.jitter.ms", "0", ConfigType::int64, "Segments are sealed at their age exactly."},
    {"unclean.leader.election.enable", "false", ConfigType::boolean, "A replica that lacks records never leads."},
    {"message.timestamp.before.max.ms", "9223372036854775807", ConfigType::int64, "A producer's time may be as old as it likes."},
};

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
