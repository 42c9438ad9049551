// Cursor: reads MQTT's data types (MQTT5 1.5) from the front of a span, never past it. Inside this room only. Pure.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "base/topic_names.h"
#include "protocol/mqtt/codec.h"

namespace robustmq::mqtt {

inline constexpr Fault kFine{};
inline constexpr Fault malformed(const char* why) { return {ReasonCode::malformed_packet, why}; }
inline constexpr Fault protocol_fault(const char* why) { return {ReasonCode::protocol_error, why}; }

class Cursor {
 public:
  explicit Cursor(ByteSpan bytes) : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  size_t left() const { return static_cast<size_t>(end_ - at_); }
  bool is_at_end() const { return at_ == end_; }
  const uint8_t* at() const { return at_; }
  ByteSpan rest() const { return {at_, left()}; }
  void skip_all() { at_ = end_; }

  bool take_u8(uint8_t& out) {
    if (left() < 1) return false;
    out = *at_++;
    return true;
  }
  bool take_u16(uint16_t& out) {
    if (left() < 2) return false;
    out = static_cast<uint16_t>(at_[0] << 8 | at_[1]);
    at_ += 2;
    return true;
  }
  bool take_u32(uint32_t& out) {
    if (left() < 4) return false;
    out = static_cast<uint32_t>(at_[0]) << 24 | static_cast<uint32_t>(at_[1]) << 16 | static_cast<uint32_t>(at_[2]) << 8 | at_[3];
    at_ += 4;
    return true;
  }
  // Minimal, at most four bytes (MQTT5 1.5.5).
  bool take_varint(uint32_t& out) {
    uint32_t value = 0;
    for (unsigned i = 0; i < 4 && at_ + i < end_; ++i) {
      value |= static_cast<uint32_t>(at_[i] & 0x7F) << (7 * i);
      if (at_[i] < 0x80) {
        if (i > 0 && at_[i] == 0) return false;
        at_ += i + 1;
        out = value;
        return true;
      }
    }
    return false;
  }
  bool take_span(size_t length, ByteSpan& out) {
    if (left() < length) return false;
    out = {at_, length};
    at_ += length;
    return true;
  }
  bool take_binary(ByteSpan& out) {
    uint16_t length = 0;
    return take_u16(length) && take_span(length, out);
  }
  // A string as it stands; its UTF-8 is not checked.
  bool take_raw_text(std::string_view& out) {
    ByteSpan bytes;
    if (!take_binary(bytes)) return false;
    out = as_text(bytes);
    return true;
  }
  bool take_text(std::string_view& out) { return take_raw_text(out) && is_utf8(out); }

 private:
  const uint8_t* at_;
  const uint8_t* end_;
};

// What may carry properties: a packet, or the will inside a CONNECT.
enum class Carrier : uint8_t {
  will = 0,
  connect = 1,
  connack = 2,
  publish = 3,
  puback = 4,
  pubrec = 5,
  pubrel = 6,
  pubcomp = 7,
  subscribe = 8,
  suback = 9,
  unsubscribe = 10,
  unsuback = 11,
  disconnect = 14,
  auth = 15
};
// Reads a block with its length in front, and checks each property against the table.
Fault take_properties(Cursor& cursor, Carrier carrier, Properties& out);

}  // namespace robustmq::mqtt
