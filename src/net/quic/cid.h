// QuicCid: a connection id (RFC 9000 5.1). Pure.
//
// Those that a node issues have 12 bytes: the core that issued it, then 11 random ones. So whatever core a datagram comes to (a
// client that moves comes to any) knows which one to ask for its connection.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "base/bytes.h"
#include "base/ids.h"

namespace robustmq::net {

struct QuicCid {
  static constexpr size_t kBytesMax = 20;
  static constexpr size_t kOwnBytes = 12;

  uint8_t size = 0;
  std::array<uint8_t, kBytesMax> bytes{};  // 0 behind `size`

  // The caller ensures that `from` has at most kBytesMax bytes.
  static QuicCid of(ByteSpan from) {
    QuicCid cid;
    cid.size = static_cast<uint8_t>(from.size());
    if (!from.empty()) std::memcpy(cid.bytes.data(), from.data(), from.size());
    return cid;
  }
  ByteSpan span() const { return {bytes.data(), size}; }
  bool operator==(const QuicCid&) const = default;
};

// Clients choose the first ids themselves: the seed is not for them to know.
struct QuicCidHash {
  uint64_t seed = 0;
  size_t operator()(const QuicCid& cid) const {
    uint64_t words[3] = {};
    std::memcpy(words, cid.bytes.data(), QuicCid::kBytesMax);
    uint64_t hash = seed ^ cid.size;
    for (const uint64_t word : words) {
      const auto product = static_cast<unsigned __int128>(hash ^ word) * 0x9E3779B97F4A7C15u;
      hash = static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64) ^ (seed << 1);
    }
    return hash;
  }
};

}  // namespace robustmq::net
