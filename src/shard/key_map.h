// KeyMap: the newest offset of each key of a stretch of a log, in memory of a fixed size. Pure.
//
// 12 bytes a key: 64 bits of its hash and 32 of the offset, in a table that is filled to nine tenths and searched linearly from a
// place that follows from other 64 bits. So 10,000,000 keys take 128 MiB. The key itself is not kept: two keys are one here when
// their 64 bits are equal and their places close together, which among 10,000,000 keys has a chance of 1 in 10^10. The hash is
// SipHash-2-4 with a random secret, so nobody can make such keys on purpose.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "base/bytes.h"
#include "base/ids.h"

namespace robustmq::shard {

class KeyMap {
 public:
  struct Secret {
    uint64_t a = 0;
    uint64_t b = 0;
  };
  // For offsets within [first, first + 2^32 - 2]. Takes memory for `keys` keys, at most `bytes_max`; at least for one.
  KeyMap(Offset first, uint64_t keys, uint64_t bytes_max, Secret secret);

  // Offsets come in ascending order. False: there is no room for one more key, or the offset is too far behind.
  bool put(ByteSpan key, Offset offset);
  // -1: the key is not there.
  Offset newest(ByteSpan key) const;

  Offset first() const { return first_; }
  uint64_t size() const { return size_; }
  uint64_t keys_max() const { return keys_max_; }
  uint64_t memory_bytes() const { return slots_ * kSlotBytes; }

 private:
  static constexpr uint64_t kSlotBytes = 12;
  // Without padding; an offset of 0 is an empty slot.
  struct Slot {
    uint32_t print_low;
    uint32_t print_high;
    uint32_t offset;  // behind first_, plus 1
  };
  struct Free {
    void operator()(Slot* slots) const { std::free(slots); }
  };
  // The slot of the key, or the empty one where it would be.
  Slot& find(ByteSpan key, uint64_t& print) const;

  Offset first_;
  uint64_t slots_;
  uint64_t keys_max_;
  uint64_t size_ = 0;
  Secret secret_;
  // Zeroed pages of the system: those never touched cost nothing.
  std::unique_ptr<Slot[], Free> table_;
};

}  // namespace robustmq::shard
