// LightTopic: one light topic on its home core, and the tables that find it by name and by id. Private to broker. Pure.
//
// What every light topic costs for as long as it is known is a LightTopic. What it needs while it is used, an OpenLight with its
// shard, is made when it is first used. One in memory stays open, as its records are there; a persistent one is closed when it is
// idle and others are used, and made again from what its LightTopic says.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "base/callback.h"
#include "base/hash.h"
#include "base/ids.h"
#include "base/intrusive.h"
#include "broker/fan_out.h"
#include "shard/shard.h"
#include "storage/row_log.h"

namespace robustmq::broker {

struct LightTopic;

// A light topic's id begins with its slot, so the id alone leads to its home, whatever the number of cores.
inline Slot slot_of_light(const TopicId& id) { return static_cast<Slot>(id.bytes[0] << 4 | id.bytes[1] >> 4); }
inline TopicId light_id(Slot slot, uint64_t high, uint64_t low) {
  TopicId id = Uuid::random(high, low);
  id.bytes[0] = static_cast<uint8_t>(slot >> 4);
  id.bytes[1] = static_cast<uint8_t>((slot & 15) << 4 | (id.bytes[1] & 15));
  return id;
}

// What a light topic needs while it is used.
struct OpenLight : shard::CommitListener {
  OpenLight(FanOut& fan_out_in, LightTopic& topic_in) : fan_out(fan_out_in), topic(topic_in) {}
  virtual ~OpenLight() = default;
  void on_committed(const ShardId&, const Bytes& batch, uint64_t origin) override;

  FanOut& fan_out;
  LightTopic& topic;
  FollowedHere known;
  std::unique_ptr<shard::Shard> shard;  // nullptr while a persistent one is being opened
};

using UseShard = Callback<void(Result<shard::Shard*>)>;

// The same of a persistent one. In a list, used longest ago first.
struct OpenRows final : OpenLight, storage::RowLogOwner, ListHook<> {
  using OpenLight::OpenLight;
  storage::KvBatch::Put row(Offset start, bool has_producers) override;

  storage::RowLog* log = nullptr;  // the shard's
  bool is_opening = false;         // or is looked through
  bool is_looking = false;
  std::vector<UseShard> waiting;  // while it is
};

struct LightTopic {
  static constexpr Offset kUnknown = -1;  // of known.end: to be asked of the rows

  LightTopic(std::string_view name_in, const TopicId& id_in, uint16_t settings_in, bool is_persistent_in)
      : id(id_in),
        name_bytes(static_cast<uint32_t>(name_in.size())),
        settings(settings_in),
        is_persistent(is_persistent_in),
        text(std::make_unique_for_overwrite<char[]>(name_in.size())) {
    std::memcpy(text.get(), name_in.data(), name_in.size());
  }
  std::string_view name() const { return {text.get(), name_bytes}; }  // MQTT's spelling
  // The open part of a persistent one.
  OpenRows* rows() const { return static_cast<OpenRows*>(open.get()); }

  LightTopic* next_by_name = nullptr;
  LightTopic* next_by_id = nullptr;
  TopicId id;
  uint32_t name_bytes;
  uint16_t settings;  // LightTopics::settings_
  bool is_persistent;
  bool is_deleting = false;  // its rows
  std::unique_ptr<char[]> text;
  std::unique_ptr<OpenLight> open;
  storage::RowLog::Known known;  // of a persistent one that is closed
};

// Finds light topics; does not own them. In parts, each with its own buckets, so that growing never touches more than a part.
template <LightTopic* LightTopic::* Next, class HashOf>
class LightTable {
 public:
  static constexpr size_t kParts = 1024;

  template <class Is>
  LightTopic* find(uint64_t hash, Is&& is) const {
    const Part& part = parts_[hash % kParts];
    if (part.buckets.empty()) return nullptr;
    LightTopic* at = part.buckets[bucket(part, hash)];
    while (at && !is(*at)) at = at->*Next;
    return at;
  }
  void add(LightTopic& topic) {
    const uint64_t hash = HashOf{}(topic);
    Part& part = parts_[hash % kParts];
    if (part.count == part.buckets.size()) grow(part);
    push(part, topic, hash);
    ++part.count;
    ++size_;
  }
  void remove(LightTopic& topic) {
    const uint64_t hash = HashOf{}(topic);
    Part& part = parts_[hash % kParts];
    LightTopic** at = &part.buckets[bucket(part, hash)];
    while (*at != &topic) at = &((*at)->*Next);
    *at = topic.*Next;
    topic.*Next = nullptr;
    --part.count;
    --size_;
  }
  // `use` may not change the table.
  template <class Use>
  void for_each_in(size_t part, Use&& use) const {
    for (LightTopic* first : parts_[part].buckets) {
      for (LightTopic* at = first; at; at = at->*Next) use(*at);
    }
  }
  size_t size() const { return size_; }

 private:
  struct Part {
    std::vector<LightTopic*> buckets;  // a power of two, or none
    size_t count = 0;
  };
  static size_t bucket(const Part& part, uint64_t hash) { return (hash / kParts) & (part.buckets.size() - 1); }
  static void push(Part& part, LightTopic& topic, uint64_t hash) {
    LightTopic*& first = part.buckets[bucket(part, hash)];
    topic.*Next = first;
    first = &topic;
  }
  static void grow(Part& part) {
    std::vector<LightTopic*> old(std::max<size_t>(4, part.buckets.size() * 2), nullptr);
    old.swap(part.buckets);
    for (LightTopic* first : old) {
      while (first) {
        LightTopic* topic = first;
        first = topic->*Next;
        push(part, *topic, HashOf{}(*topic));
      }
    }
  }

  std::vector<Part> parts_ = std::vector<Part>(kParts);
  size_t size_ = 0;
};

struct LightNameHash {
  uint64_t operator()(const LightTopic& topic) const { return hash64(as_bytes(topic.name())); }
};
struct LightIdHash {
  uint64_t operator()(const LightTopic& topic) const { return UuidHash{}(topic.id); }
};
using LightsByName = LightTable<&LightTopic::next_by_name, LightNameHash>;
using LightsById = LightTable<&LightTopic::next_by_id, LightIdHash>;

}  // namespace robustmq::broker
