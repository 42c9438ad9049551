// Kafka's names of the settings that a consumer group can have of its own, and ours (the fields of broker::GroupConfig). Pure.
#pragma once

#include <cstdint>
#include <string_view>

namespace robustmq::kafka {

constexpr int8_t kGroupResource = 32;

struct GroupSetting {
  std::string_view kafka_name;
  std::string_view our_name;
  std::string_view synonym;  // Kafka's name of the default among the broker's settings
  std::string_view doc;
};
constexpr GroupSetting kGroupSettings[] = {
    {"consumer.session.timeout.ms", "consumer_session_timeout_ms", "group.consumer.session.timeout.ms",
     "How long a member of the group may be silent."},
    {"consumer.heartbeat.interval.ms", "consumer_heartbeat_interval_ms", "group.consumer.heartbeat.interval.ms",
     "How often members of the group send heartbeats."},
};

constexpr const GroupSetting* group_setting_of_kafka(std::string_view name) {
  for (const GroupSetting& setting : kGroupSettings) {
    if (setting.kafka_name == name) return &setting;
  }
  return nullptr;
}
constexpr const GroupSetting* group_setting_of_ours(std::string_view name) {
  for (const GroupSetting& setting : kGroupSettings) {
    if (setting.our_name == name) return &setting;
  }
  return nullptr;
}

}  // namespace robustmq::kafka
