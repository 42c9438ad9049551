// LightTopics: the light topics whose home is this core. Lives on its core.
//
// A light topic has one shard in memory and is made by the first message to a name that no rule and no stream claims. One
// without records and without followers is forgotten. Offsets of a name never come back: a topic made again begins behind
// every offset that any forgotten one of this core had.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "broker/fan_out.h"
#include "broker/options.h"
#include "shard/shard.h"

namespace robustmq::broker {

struct LightTopic final : shard::CommitListener {
  LightTopic(FanOut& fan_out_in, std::string name_in, TopicId id_in) : fan_out(fan_out_in), name(std::move(name_in)), id(id_in) {}
  void on_committed(const ShardId&, const Bytes& batch, uint64_t origin) override { fan_out.light(name, batch, origin, known); }

  FanOut& fan_out;
  std::string name;  // MQTT's spelling
  TopicId id;
  FollowedHere known;
  std::unique_ptr<shard::Shard> shard;
};

class LightTopics {
 public:
  // `memory`: an engine whose open() completes inline.
  LightTopics(runtime::Core& core, FanOut& fan_out, const BrokerOptions& options, BrokerMetrics& metrics, int64_t starts,
              storage::Engine& memory);

  LightTopic* find(std::string_view mqtt_name);
  LightTopic* find_by_kafka_name(std::string_view kafka_name);
  LightTopic* find(const TopicId& id);
  // nullptr when the number of light topics is at its limit.
  LightTopic* make(std::string_view mqtt_name);
  template <class Use>
  void for_each(Use&& use) {
    for (auto& [name, topic] : by_name_) use(*topic);
  }
  // Applies retention and forgets empty topics that nobody follows, at most `visits` of them a call, going round.
  // `forgotten(mqtt name)` is called before each goes.
  void sweep(WallTime now, size_t visits, Callback<void(const std::string&)> forgotten);
  size_t size() const { return by_name_.size(); }

 private:
  runtime::Core& core_;
  FanOut& fan_out_;
  const BrokerOptions& options_;
  BrokerMetrics& metrics_;
  storage::Engine& memory_;
  LeaderEpoch epoch_;
  Offset first_offset_;
  size_t swept_bucket_ = 0;
  // Keys view the topics' own names.
  std::unordered_map<std::string_view, std::unique_ptr<LightTopic>> by_name_;
  std::unordered_map<std::string, LightTopic*, TextHash, std::equal_to<>> by_made_name_;  // those whose Kafka name has a hash
  std::unordered_map<TopicId, LightTopic*, UuidHash> by_id_;
};

}  // namespace robustmq::broker
