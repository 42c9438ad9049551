#include "shard/key_map.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"

namespace robustmq::shard {
namespace {

// SipHash-2-4 with 128 bits of output (Aumasson, Bernstein; public domain design).
struct SipHash {
  uint64_t v0, v1, v2, v3;

  explicit SipHash(KeyMap::Secret secret)
      : v0(0x736f6d6570736575 ^ secret.a),
        v1(0x646f72616e646f6d ^ secret.b ^ 0xee),
        v2(0x6c7967656e657261 ^ secret.a),
        v3(0x7465646279746573 ^ secret.b) {}

  void round() {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }
  void take(uint64_t word) {
    v3 ^= word;
    round();
    round();
    v0 ^= word;
  }
  uint64_t out() {
    for (int i = 0; i < 4; ++i) round();
    return v0 ^ v1 ^ v2 ^ v3;
  }
};

}  // namespace

KeyMap::KeyMap(Offset first, uint64_t keys, uint64_t bytes_max, Secret secret) : first_(first), secret_(secret) {
  static_assert(sizeof(Slot) == kSlotBytes);
  const uint64_t wanted = std::max<uint64_t>(keys, 1) / 9 * 10 + 10;
  slots_ = std::max<uint64_t>(std::min(wanted, bytes_max / kSlotBytes), 2);
  keys_max_ = std::max<uint64_t>(slots_ / 10 * 9 + slots_ % 10 * 9 / 10, 1);
  table_.reset(static_cast<Slot*>(std::calloc(slots_, kSlotBytes)));
  ROBUSTMQ_CHECK(table_ != nullptr, "no memory for a map of keys");
}

KeyMap::Slot& KeyMap::find(ByteSpan key, uint64_t& print) const {
  SipHash hash(secret_);
  size_t at = 0;
  for (; at + 8 <= key.size(); at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, key.data() + at, 8);
    hash.take(word);
  }
  uint64_t last = static_cast<uint64_t>(key.size()) << 56;
  for (size_t i = 0; at + i < key.size(); ++i) last |= static_cast<uint64_t>(key[at + i]) << (8 * i);
  hash.take(last);
  hash.v2 ^= 0xee;
  const uint64_t place = hash.out();
  hash.v1 ^= 0xdd;
  print = hash.out();
  uint64_t slot = place % slots_;
  while (true) {
    Slot& here = table_[slot];
    const uint64_t kept = static_cast<uint64_t>(here.print_high) << 32 | here.print_low;
    if (here.offset == 0 || kept == print) return here;
    if (++slot == slots_) slot = 0;
  }
}

bool KeyMap::put(ByteSpan key, Offset offset) {
  ROBUSTMQ_CHECK(offset >= first_, "an offset in front of the map's first");
  if (offset - first_ >= UINT32_MAX) return false;
  uint64_t print = 0;
  Slot& slot = find(key, print);
  if (slot.offset == 0) {
    if (size_ >= keys_max_) return false;
    ++size_;
    slot.print_low = static_cast<uint32_t>(print);
    slot.print_high = static_cast<uint32_t>(print >> 32);
  }
  slot.offset = static_cast<uint32_t>(offset - first_ + 1);
  return true;
}

Offset KeyMap::newest(ByteSpan key) const {
  uint64_t print = 0;
  const Slot& slot = find(key, print);
  return slot.offset == 0 ? -1 : first_ + slot.offset - 1;
}

}  // namespace robustmq::shard
