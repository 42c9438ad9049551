#include "broker/light_topics.h"

#include <vector>

#include "base/check.h"
#include "base/topic_names.h"

namespace robustmq::broker {

LightTopics::LightTopics(runtime::Core& core, FanOut& fan_out, const BrokerOptions& options, BrokerMetrics& metrics,
                         int64_t starts, storage::Engine& memory)
    : core_(core),
      fan_out_(fan_out),
      options_(options),
      metrics_(metrics),
      memory_(memory),
      epoch_(static_cast<LeaderEpoch>(starts)),
      first_offset_(starts << 32) {}

LightTopic* LightTopics::find(std::string_view mqtt_name) {
  const auto found = by_name_.find(mqtt_name);
  return found == by_name_.end() ? nullptr : found->second.get();
}

LightTopic* LightTopics::find_by_kafka_name(std::string_view kafka_name) {
  const auto made = by_made_name_.find(kafka_name);
  if (made != by_made_name_.end()) return made->second;
  LightTopic* topic = find(mqtt_name_of_kafka(kafka_name));
  return topic && is_plain_mqtt_name(topic->name) ? topic : nullptr;
}

LightTopic* LightTopics::find(const TopicId& id) {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

LightTopic* LightTopics::make(std::string_view mqtt_name) {
  if (by_name_.size() >= static_cast<size_t>(options_.light_topics_max) / core_.count()) {
    ++metrics_.light_topics_refused_total;
    return nullptr;
  }
  // Drawn until it leads home: whoever has the id alone finds the core by it (Locator::home).
  TopicId drawn;
  do drawn = Uuid::random(core_.random(), core_.random());
  while (UuidHash{}(drawn) % core_.count() != core_.index());
  auto topic = std::make_unique<LightTopic>(fan_out_, std::string(mqtt_name), drawn);
  storage::LogSettings log;
  log.records_max = options_.light_records_max;
  log.retention_ms = options_.light_retention_ms;
  shard::ShardSettings settings;
  settings.batch_bytes_max = INT32_MAX;  // the protocol's own packet limit holds
  settings.log = log;
  const ShardId id{topic->id, 0};
  memory_.open(id, log, first_offset_, [&](Result<storage::OpenedLog> opened) {
    topic->shard = std::make_unique<shard::Shard>(core_, id, opened.take(), epoch_, settings);
  });
  ROBUSTMQ_CHECK(topic->shard, "a memory log opens inline");
  topic->shard->set_commit_listener(topic.get());
  LightTopic* made = topic.get();
  if (!is_plain_mqtt_name(made->name)) by_made_name_.emplace(kafka_name_of_mqtt(made->name), made);
  by_id_.emplace(made->id, made);
  by_name_.emplace(made->name, std::move(topic));
  ++metrics_.light_topics;
  return made;
}

void LightTopics::sweep(WallTime now, size_t visits, Callback<void(const std::string&)> forgotten) {
  const size_t buckets = by_name_.bucket_count();
  std::vector<LightTopic*> empty;
  size_t visited = 0;
  for (size_t step = 0; step < buckets && visited < visits; ++step, ++visited) {
    swept_bucket_ = (swept_bucket_ + 1) % buckets;
    for (auto at = by_name_.begin(swept_bucket_); at != by_name_.end(swept_bucket_); ++at) {
      ++visited;
      LightTopic& topic = *at->second;
      topic.shard->retain(now);
      const shard::ShardBounds bounds = topic.shard->bounds();
      if (bounds.log_start == bounds.log_end && !topic.known.targets && topic.known.other_cores == 0) empty.push_back(&topic);
    }
  }
  for (LightTopic* topic : empty) {
    first_offset_ = std::max(first_offset_, topic->shard->bounds().log_end);
    forgotten(topic->name);
    by_id_.erase(topic->id);
    if (!is_plain_mqtt_name(topic->name)) by_made_name_.erase(kafka_name_of_mqtt(topic->name));
    by_name_.erase(by_name_.find(topic->name));
    --metrics_.light_topics;
  }
}

}  // namespace robustmq::broker
