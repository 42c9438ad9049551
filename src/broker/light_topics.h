// LightTopics: the light topics whose home is this core. Lives on its core.
//
// A light topic has one shard and is made by the first message to a name that no stream claims: in memory, or, where a topic rule
// says `persistent`, as rows of the node's key-value rows. Offsets of a name never come back: a topic made again begins behind
// every offset that any forgotten one of this core had. One without records and without followers is forgotten.
//
// Rows of a persistent one: its own, key 't' and id (16), value LightRow, written with the first record; and its batches
// (storage/row_log.h). The id begins with the slot, so each core reads the rows of its slots at the start, and no record. Where a
// log ends is asked of the rows when it is first used.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "broker/fan_out.h"
#include "broker/light_topic.h"
#include "broker/options.h"
#include "broker/packet_repeat.h"
#include "broker/topic_rules.h"
#include "shard/shard.h"
#include "storage/kv.h"

namespace robustmq::broker {

class LightTopics final : private runtime::Deferred {
 public:
  // `memory`: an engine whose open() completes inline. `kv`: nullptr where nothing is persistent (tests).
  LightTopics(runtime::Core& core, FanOut& fan_out, const BrokerOptions& options, const TopicRules& rules, BrokerMetrics& metrics,
              int64_t starts, storage::Engine& memory, storage::Kv* kv);
  ~LightTopics();

  // Reads the rows of this core's persistent topics; before the first use. Errors: corrupt_storage, storage_failed.
  void load(Callback<void(Status)> done);

  LightTopic* find(std::string_view mqtt_name) const;
  LightTopic* find_by_kafka_name(std::string_view kafka_name) const;
  LightTopic* find(const TopicId& id) const;
  // `rule`: the one that claims the name, without a stream; nullptr: none. Errors: quota_exceeded, storage_failed.
  Result<LightTopic*> make(std::string_view mqtt_name, std::string_view kafka_name, const TopicRule* rule);
  // Calls `use` with the open shard: now, or when a persistent one is open. In call order for one topic. Errors: storage_failed,
  // corrupt_storage.
  void with(LightTopic& topic, UseShard use);
  void append(LightTopic& topic, Bytes batch, uint64_t origin, Callback<void(Result<shard::Appended>)> done) {
    if (!topic.is_persistent) return topic.open->shard->append(std::move(batch), origin, std::move(done));
    append_to_rows(topic, std::move(batch), origin, std::move(done));
  }
  // Looks through what a persistent topic has for the message of `again`, one record, which may be a repeat. Whoever uses the
  // topic meanwhile comes behind `done`. Errors: as with().
  struct Looked {
    shard::Shard* shard;
    std::optional<Offset> found;
  };
  void look_for(LightTopic& topic, Bytes again, PacketRepeat repeat, Callback<void(Result<Looked>)> done);
  // A stored batch of a transaction that commits: to who follows it, or, where those had it before, to stored sessions alone.
  // The spool's ticket of what those are owed; 0: nothing.
  uint64_t hand_out(const TopicId& id, const Bytes& batch, bool is_told);
  template <class Use>
  void for_each(Use&& use) const {
    for (size_t part = 0; part < LightsByName::kParts; ++part) by_name_.for_each_in(part, use);
  }
  // Applies retention and forgets empty topics that nobody follows, at most about `visits` of them a call, going round.
  // `forgotten(mqtt name)` is called before each goes.
  void sweep(WallTime now, size_t visits, Callback<void(std::string_view)> forgotten);
  size_t size() const { return by_name_.size(); }
  meta::TopicConfig config_of(const LightTopic& topic) const;

 private:
  class Loading;
  class Looking;
  struct Settings {
    bool is_persistent = false;
    shard::ShardSettings shard;
  };
  uint16_t settings_of(const TopicRule* rule) const;
  void add(std::unique_ptr<LightTopic> topic);
  void forget(LightTopic& topic);
  void take_out(LightTopic& topic);
  static storage::KvBatch rows_of(const TopicId& id);  // their removal
  void delete_rows(LightTopic& topic);
  Status add_row(std::string_view key, std::string_view value);
  void append_to_rows(LightTopic& topic, Bytes batch, uint64_t origin, Callback<void(Result<shard::Appended>)> done);
  // After it the topic is open, being opened, or could not be opened.
  void open(LightTopic& topic);
  void open_shard(LightTopic& topic);
  void finish_opening(LightTopic& topic, Status status);
  void finish_looking(const TopicId& id);
  void touch(OpenRows& rows);
  void close(LightTopic& topic);
  void run_deferred() override;
  bool is_due(const LightTopic& topic, WallTime now) const;

  runtime::Core& core_;
  FanOut& fan_out_;
  const BrokerOptions& options_;
  const TopicRules& rules_;
  BrokerMetrics& metrics_;
  storage::Engine& memory_;
  storage::Kv* kv_;
  LeaderEpoch epoch_;
  Offset first_offset_;
  size_t swept_part_ = 0;
  std::deque<Settings> settings_;  // without a rule, then of each rule
  LightsByName by_name_;           // owns
  LightsById by_id_;
  std::unordered_map<std::string, LightTopic*, TextHash, std::equal_to<>> by_made_name_;  // those whose Kafka name has a hash
  List<OpenRows> open_;                                                                   // used longest ago first
  AnchorOwner<LightTopics> anchor_;
};

}  // namespace robustmq::broker
