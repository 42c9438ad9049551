#include "broker/light_topics.h"

#include <utility>
#include <vector>

#include "base/check.h"
#include "base/topic_names.h"
#include "broker/origin.h"

namespace robustmq::broker {

storage::KvBatch LightTopics::rows_of(const TopicId& id) {
  storage::KvBatch rows;
  rows.remove(std::string(1, 't') + std::string(as_text(id.bytes)));
  rows.remove_range(storage::RowLog::first_key(id), storage::RowLog::end_key(id));
  return rows;
}

// Records of a transaction are handed out when it commits (hand_out).
void OpenLight::on_committed(const ShardId& id, const Bytes& batch, uint64_t origin) {
  if (BatchView(batch).is_transactional()) return;
  fan_out.light(topic.name(), &id, batch, origin, known);
}

LightTopics::LightTopics(runtime::Core& core, FanOut& fan_out, const BrokerOptions& options, const TopicRules& rules,
                         BrokerMetrics& metrics, int64_t starts, storage::Engine& memory, storage::Kv* kv)
    : core_(core),
      fan_out_(fan_out),
      options_(options),
      rules_(rules),
      metrics_(metrics),
      memory_(memory),
      kv_(kv),
      epoch_(static_cast<LeaderEpoch>(starts)),
      first_offset_(starts << 32) {
  Settings plain;
  plain.shard.batch_bytes_max = INT32_MAX;  // the protocol's own packet limit holds
  plain.shard.log.records_max = options_.light_records_max;
  plain.shard.log.retention_ms = options_.light_retention_ms;
  settings_.push_back(plain);
  for (const TopicRule& rule : rules_.all()) {
    Settings of_rule = plain;
    if (rule.mode == meta::Mode::persistent) {
      of_rule.is_persistent = true;
      of_rule.shard.log.retention_ms = rule.retention_ms;
      of_rule.shard.log.retention_bytes = rule.retention_bytes;
    }
    settings_.push_back(of_rule);
  }
}

LightTopics::~LightTopics() {
  anchor_.cut();
  for (size_t part = 0; part < LightsByName::kParts; ++part) {
    std::vector<LightTopic*> topics;
    by_name_.for_each_in(part, [&](LightTopic& topic) { topics.push_back(&topic); });
    for (LightTopic* topic : topics) delete topic;
  }
}

uint16_t LightTopics::settings_of(const TopicRule* rule) const {
  return rule && rule->topic.empty() ? static_cast<uint16_t>(1 + (rule - rules_.all().data())) : 0;
}

meta::TopicConfig LightTopics::config_of(const LightTopic& topic) const {
  const storage::LogSettings& log = settings_[topic.settings].shard.log;
  meta::TopicConfig config;
  config.mode = topic.is_persistent ? meta::Mode::persistent : meta::Mode::memory;
  config.retention_ms = log.retention_ms;
  config.retention_bytes = log.retention_bytes;
  return config;
}

LightTopic* LightTopics::find(std::string_view mqtt_name) const {
  return by_name_.find(hash64(as_bytes(mqtt_name)), [&](const LightTopic& topic) { return topic.name() == mqtt_name; });
}

LightTopic* LightTopics::find_by_kafka_name(std::string_view kafka_name) const {
  const auto made = by_made_name_.find(kafka_name);
  if (made != by_made_name_.end()) return made->second;
  LightTopic* topic = find(mqtt_name_of_kafka(kafka_name));
  return topic && is_plain_mqtt_name(topic->name()) ? topic : nullptr;
}

LightTopic* LightTopics::find(const TopicId& id) const {
  return by_id_.find(UuidHash{}(id), [&](const LightTopic& topic) { return topic.id == id; });
}

void LightTopics::add(std::unique_ptr<LightTopic> topic) {
  LightTopic& made = *topic.release();
  if (!is_plain_mqtt_name(made.name())) by_made_name_.emplace(kafka_name_of_mqtt(made.name()), &made);
  by_id_.add(made);
  by_name_.add(made);
  ++metrics_.light_topics;
}

uint64_t LightTopics::hand_out(const TopicId& id, const Bytes& batch, bool is_told) {
  LightTopic* topic = find(id);
  if (!topic || !topic->open) return 0;
  if (is_told) return fan_out_.owe_light_again(topic->name(), {id, 0}, batch, kSomeClient);
  fan_out_.light(topic->name(), nullptr, batch, kSomeClient, topic->open->known);
  return fan_out_.owed_ticket();
}

Result<LightTopic*> LightTopics::make(std::string_view mqtt_name, std::string_view kafka_name, const TopicRule* rule) {
  if (by_name_.size() >= static_cast<size_t>(options_.light_topics_max) / core_.count()) {
    ++metrics_.light_topics_refused_total;
    return Code::quota_exceeded;
  }
  const uint16_t index = settings_of(rule);
  const Settings& settings = settings_[index];
  if (settings.is_persistent && !kv_) return Error{Code::storage_failed, "there are no rows for persistent light topics"};
  const Slot slot = slot_of(kDefaultTenant, kafka_name);
  auto made =
      std::make_unique<LightTopic>(mqtt_name, light_id(slot, core_.random(), core_.random()), index, settings.is_persistent);
  LightTopic* topic = made.get();
  if (settings.is_persistent) {
    made->known.start = made->known.end = first_offset_;
  } else {
    made->open = std::make_unique<OpenLight>(fan_out_, *topic);
    const ShardId id{topic->id, 0};
    memory_.open(id, settings.shard.log, first_offset_, [&](Result<storage::OpenedLog> opened) {
      topic->open->shard = std::make_unique<shard::Shard>(core_, id, opened.take(), epoch_, settings.shard);
    });
    ROBUSTMQ_CHECK(topic->open->shard, "a memory log opens inline");
    topic->open->shard->set_commit_listener(topic->open.get());
  }
  add(std::move(made));
  return topic;
}

// Due for a look at its records' age and size.
bool LightTopics::is_due(const LightTopic& topic, WallTime now) const {
  const storage::LogSettings& log = settings_[topic.settings].shard.log;
  const storage::RowLog::Known& known = topic.open && topic.rows()->log ? topic.rows()->log->known() : topic.known;
  if (known.start == known.end) return false;
  return (log.retention_ms >= 0 && known.oldest_ms < now.ms - log.retention_ms) ||
         (log.retention_bytes >= 0 && known.size_bytes > static_cast<uint64_t>(log.retention_bytes));
}

void LightTopics::sweep(WallTime now, size_t visits, Callback<void(std::string_view)> forgotten) {
  std::vector<LightTopic*> empty;
  std::vector<LightTopic*> due;
  size_t visited = 0;
  for (size_t step = 0; step < LightsByName::kParts && visited < visits; ++step) {
    swept_part_ = (swept_part_ + 1) % LightsByName::kParts;
    by_name_.for_each_in(swept_part_, [&](LightTopic& topic) {
      ++visited;
      if (topic.is_persistent) {
        const OpenRows* rows = topic.rows();
        if (rows && (rows->is_opening || !rows->log)) return;
        const storage::RowLog::Known& known = rows ? rows->log->known() : topic.known;
        const bool is_used = rows && !(rows->log->is_idle() && rows->shard->is_idle() && !rows->known.targets);
        if (known.start == known.end && !is_used)
          empty.push_back(&topic);
        else if (is_due(topic, now))
          due.push_back(&topic);
        return;
      }
      OpenLight& open = *topic.open;
      open.shard->retain(now);
      const shard::ShardBounds bounds = open.shard->bounds();
      if (bounds.log_start == bounds.log_end && !open.known.targets && open.known.other_cores == 0) empty.push_back(&topic);
    });
  }
  for (LightTopic* topic : empty) {
    if (topic->is_persistent) close(*topic);
    // Its rows go first; a later look forgets it, unless it was used meanwhile.
    if (topic->is_deleting) continue;
    if (topic->is_persistent && topic->known.has_row) {
      delete_rows(*topic);
      continue;
    }
    forgotten(topic->name());
    forget(*topic);
  }
  for (LightTopic* topic : due) {
    with(*topic, [now](Result<shard::Shard*> shard) {
      if (shard) (*shard)->retain(now);
    });
  }
}

// Whoever appends meanwhile comes behind it, and writes the topic's row again.
void LightTopics::delete_rows(LightTopic& topic) {
  topic.is_deleting = true;
  topic.known.has_row = false;
  kv_->write(rows_of(topic.id), [self = anchor_.anchor(this), id = topic.id](const Status& status) {
    LightTopics* topics = self.get();
    LightTopic* found = topics ? topics->find(id) : nullptr;
    if (!found) return;
    found->is_deleting = false;
    if (!status.ok()) found->known.has_row = true;  // the next look tries again
  });
}

void LightTopics::forget(LightTopic& topic) {
  first_offset_ = std::max(first_offset_, topic.is_persistent ? topic.known.end : topic.open->shard->bounds().log_end);
  take_out(topic);
}

void LightTopics::take_out(LightTopic& topic) {
  by_id_.remove(topic);
  by_name_.remove(topic);
  if (!is_plain_mqtt_name(topic.name())) by_made_name_.erase(kafka_name_of_mqtt(topic.name()));
  --metrics_.light_topics;
  delete &topic;
}

}  // namespace robustmq::broker
