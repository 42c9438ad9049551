// The ids everyone speaks: tenant, topic, shard, slot, node, core. Pure.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>

namespace robustmq {

using Offset = int64_t;       // position of a record in a shard
using LeaderEpoch = int32_t;  // raised with each leadership of a shard; never falls
using ProducerId = int64_t;
using TenantId = uint32_t;  // 0 is the default tenant
using NodeId = int32_t;
using CoreIndex = uint16_t;

constexpr TenantId kDefaultTenant = 0;
constexpr uint16_t kSlotCount = 4096;  // for ever

// A slot is what light topics, sessions and consumer groups hash to.
using Slot = uint16_t;
Slot slot_of(TenantId tenant, std::string_view name);

// A UUID, of 16 raw bytes as Kafka has it on the wire; all zero means "not given".
struct Uuid {
  std::array<uint8_t, 16> bytes{};
  auto operator<=>(const Uuid&) const = default;
  bool is_zero() const { return *this == Uuid{}; }
  std::string to_string() const;                    // 22 characters of URL-safe base64, as Kafka prints it
  static Uuid random(uint64_t high, uint64_t low);  // version 4 from 122 of the given random bits
};
using TopicId = Uuid;  // one an incarnation, never reused

struct ShardId {
  TopicId topic;
  int32_t partition = 0;
  auto operator<=>(const ShardId&) const = default;
  std::string to_string() const;
};

struct UuidHash {
  size_t operator()(const Uuid& id) const {
    uint64_t low;
    std::memcpy(&low, id.bytes.data() + 8, 8);
    return low;
  }
};
struct ShardIdHash {
  size_t operator()(const ShardId& id) const {
    return UuidHash{}(id.topic) * 31 + static_cast<uint32_t>(id.partition) * 0x9E3779B97F4A7C15u;
  }
};

// For unordered containers keyed by std::string and asked with std::string_view.
struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};

}  // namespace robustmq
