// The two integers of MQTT that a load generator writes by hand. Pure.
#pragma once

#include <cstddef>
#include <string>

namespace robustmq::bench {

inline void put_u16(std::string& out, size_t n) {
  out += static_cast<char>(n >> 8);
  out += static_cast<char>(n);
}

// A remaining length (MQTT 5.0, 1.5.5).
inline void put_length(std::string& out, size_t n) {
  for (; n >= 128; n >>= 7) out += static_cast<char>(n | 128);
  out += static_cast<char>(n);
}

}  // namespace robustmq::bench
