// What keys of rows are made of: big-endian numbers, so that rows lie in the order of what they name, and prefixes. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace robustmq::storage {

// Appends the lowest `bytes` bytes of a number, the highest of them first.
inline void put_big_endian(uint64_t value, size_t bytes, std::string& to) {
  for (size_t i = bytes; i-- > 0;) to.push_back(static_cast<char>(value >> (8 * i)));
}

// The number that at most 8 such bytes are.
inline uint64_t big_endian(std::string_view bytes) {
  uint64_t value = 0;
  for (const char c : bytes) value = value << 8 | static_cast<uint8_t>(c);
  return value;
}

// The first key behind all that begin with `prefix` (not all of it 0xff).
inline std::string end_of(std::string prefix) {
  while (static_cast<uint8_t>(prefix.back()) == 0xff) prefix.pop_back();
  ++prefix.back();
  return prefix;
}

}  // namespace robustmq::storage
