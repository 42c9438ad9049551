// Varints as Kafka's records have them: base-128, zigzag for signed values. Bounded readers. Pure.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace robustmq {

inline uint64_t zigzag(int64_t value) { return (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63); }
inline int64_t unzigzag(uint64_t value) { return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1); }

inline size_t varint_size(uint64_t value) {
  size_t size = 1;
  for (; value >= 0x80; value >>= 7) ++size;
  return size;
}

// Writes at most 10 bytes; returns the end.
inline uint8_t* put_varint(uint8_t* at, uint64_t value) {
  for (; value >= 0x80; value >>= 7) *at++ = static_cast<uint8_t>(value | 0x80);
  *at++ = static_cast<uint8_t>(value);
  return at;
}

// Reads from the front of `rest` and drops what was read. False when it ends early or is longer than 10 bytes.
inline bool take_varint(ByteSpan& rest, uint64_t& out) {
  uint64_t value = 0;
  const size_t limit = rest.size() < 10 ? rest.size() : 10;
  for (size_t i = 0; i < limit; ++i) {
    value |= static_cast<uint64_t>(rest[i] & 0x7f) << (7 * i);
    if (rest[i] < 0x80) {
      rest = rest.subspan(i + 1);
      out = value;
      return true;
    }
  }
  return false;
}

inline bool take_zigzag(ByteSpan& rest, int64_t& out) {
  uint64_t raw;
  if (!take_varint(rest, raw)) return false;
  out = unzigzag(raw);
  return true;
}

}  // namespace robustmq
