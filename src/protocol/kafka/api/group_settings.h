// Kafka's names of the settings that a consumer group can have of its own, and ours (the fields of broker::GroupConfig). Pure.
#pragma once

#include <cstdint>
#include <string_view>

#include "protocol/kafka/names.h"

namespace robustmq::kafka {

constexpr int8_t kGroupResource = 32;

struct GroupSetting {
  std::string_view kafka_name;
  std::string_view our_name;
  std::string_view synonym;  // Kafka's name of the default among the broker's settings; empty: there is none
  std::string_view doc;
  ConfigType type = ConfigType::int32;
};
constexpr GroupSetting kGroupSettings[] = {
    {"consumer.session.timeout.ms", "consumer_session_timeout_ms", "group.consumer.session.timeout.ms",
     "How long a member of the group may be silent."},
    {"consumer.heartbeat.interval.ms", "consumer_heartbeat_interval_ms", "group.consumer.heartbeat.interval.ms",
     "How often members of the group send heartbeats."},
    {"share.session.timeout.ms", "share_session_timeout_ms", "group.share.session.timeout.ms",
     "How long a member of the share group may be silent."},
    {"share.heartbeat.interval.ms", "share_heartbeat_interval_ms", "group.share.heartbeat.interval.ms",
     "How often members of the share group send heartbeats."},
    {"share.record.lock.duration.ms", "share_record_lock_duration_ms", "group.share.record.lock.duration.ms",
     "How long a record is a member's before it goes to another."},
    {"share.delivery.count.limit", "share_delivery_count_limit", "group.share.delivery.count.limit",
     "Deliveries after which a record that was not accepted is given to nobody any more."},
    {"share.partition.max.record.locks", "share_partition_max_record_locks", "group.share.partition.max.record.locks",
     "Most records of a partition that members hold at once."},
    {"share.isolation.level", "share_isolation_level", "", "read_committed: no records of transactions that are open or aborted.",
     ConfigType::string},
    {"share.auto.offset.reset", "share_auto_offset_reset", "",
     "Where the group begins on a partition that it never read: latest, earliest or by_duration:PnDTnHnMn.nS.",
     ConfigType::string},
    {"share.renew.acknowledge.enable", "share_renew_acknowledge_enable", "", "Whether members may renew their locks.",
     ConfigType::boolean},
    {"errors.deadletterqueue.topic.name", "share_dead_letter_topic", "",
     "Topic that gets a dead letter for each record that was rejected or reached the limit of deliveries; empty: none.",
     ConfigType::string},
    {"errors.deadletterqueue.copy.record.enable", "share_dead_letter_copies", "",
     "Whether dead letters have the key and the value of their record.", ConfigType::boolean},
    {"robustmq.queue.last.value", "queue_last_value", "",
     "Of a queue that MQTT clients subscribe to: a record that a newer one with its key has replaced is given to nobody.",
     ConfigType::boolean},
    {"robustmq.queue.dispatch", "queue_dispatch", "",
     "Of a queue that MQTT clients subscribe to: who of them gets the next message: round_robin, random or least_inflight.",
     ConfigType::string},
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
