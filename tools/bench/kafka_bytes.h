// Kafka's requests and answers as bytes, as far as the loads need them. Big-endian; the flexible versions' compact fields.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tools/bench/measure.h"

namespace robustmq::bench {

template <class T>
void put(std::string& out, T value) {
  for (int shift = 8 * (static_cast<int>(sizeof(T)) - 1); shift >= 0; shift -= 8) {
    out += static_cast<char>(static_cast<uint64_t>(value) >> shift);
  }
}

inline void put_text(std::string& out, std::string_view text) {
  put<int16_t>(out, static_cast<int16_t>(text.size()));
  out += text;
}

inline void put_compact(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}
inline void put_compact_text(std::string& out, std::string_view text) {
  put_compact(out, text.size() + 1);
  out += text;
}
// The end of a structure without tagged fields.
inline void put_no_tags(std::string& out) { out += '\0'; }

template <class T>
T get_at(std::string_view data, size_t at) {
  uint64_t value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value = value << 8 | static_cast<uint8_t>(data[at + i]);
  return static_cast<T>(value);
}

// A request with its size before it. `is_flexible`: the header has tagged fields.
inline std::string frame(int16_t key, int16_t version, std::string_view body, bool is_flexible = false, int32_t correlation = 1) {
  std::string out;
  put<int32_t>(out, static_cast<int32_t>(body.size()) + 2 + 2 + 4 + 2 + 5 + (is_flexible ? 1 : 0));
  put<int16_t>(out, key);
  put<int16_t>(out, version);
  put<int32_t>(out, correlation);
  put_text(out, "bench");
  if (is_flexible) put_no_tags(out);
  out += body;
  return out;
}

// Reads an answer from the front. One that is too short ends the run (fail()).
class Fields {
 public:
  explicit Fields(std::string_view rest) : rest_(rest) {}
  template <class T>
  T take() {
    const std::string_view bytes = take_bytes(sizeof(T));
    return get_at<T>(bytes, 0);
  }
  uint64_t take_compact() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = take<uint8_t>();
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    return value;
  }
  // Of a compact array, string or bytes; null is 0.
  size_t take_count() {
    const uint64_t count = take_compact();
    return count == 0 ? 0 : static_cast<size_t>(count - 1);
  }
  std::string_view take_text() { return take_bytes(take_count()); }
  std::string_view take_bytes(size_t size) {
    if (size > rest_.size()) fail("an answer is cut");
    const std::string_view bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return bytes;
  }
  void skip_tags() {
    for (uint64_t left = take_compact(); left > 0; --left) {
      take_compact();
      take_bytes(static_cast<size_t>(take_compact()));
    }
  }

 private:
  std::string_view rest_;
};

}  // namespace robustmq::bench
