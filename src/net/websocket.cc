// The frames (see the header). Pure.
#include "net/websocket.h"

#include <algorithm>
#include <cstring>

#include "base/topic_names.h"

namespace robustmq::net {

namespace {

constexpr uint8_t kFin = 0x80;
constexpr uint8_t kReserved = 0x70;
constexpr uint8_t kMasked = 0x80;

// RFC 6455 7.4: what may stand in a close frame.
bool is_close_status(uint16_t status) {
  if (status >= 3000) return status <= 4999;
  return status >= 1000 && status <= 1014 && status != 1004 && status != 1005 && status != 1006;
}

// Moves `bytes` to `to`, which lies at them or before, unmasked with the key rotated to where the payload stands.
void unmask(uint8_t* to, std::span<const uint8_t> bytes, const uint8_t (&mask)[4], uint8_t mask_at) {
  uint8_t key[8];
  for (size_t i = 0; i < 8; ++i) key[i] = mask[(mask_at + i) & 3];
  size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    uint64_t word, wide_key;
    std::memcpy(&word, bytes.data() + at, 8);
    std::memcpy(&wide_key, key, 8);
    word ^= wide_key;
    std::memcpy(to + at, &word, 8);
  }
  for (; at < bytes.size(); ++at) to[at] = bytes[at] ^ key[at & 3];
}

}  // namespace

size_t write_websocket_header(uint8_t* into, WebSocketOpcode opcode, uint64_t payload_bytes) {
  into[0] = static_cast<uint8_t>(kFin | static_cast<uint8_t>(opcode));
  if (payload_bytes <= kWebSocketControlMax) {
    into[1] = static_cast<uint8_t>(payload_bytes);
    return 2;
  }
  const size_t length_bytes = payload_bytes <= UINT16_MAX ? 2 : 8;
  into[1] = length_bytes == 2 ? 126 : 127;
  for (size_t i = 0; i < length_bytes; ++i) into[2 + i] = static_cast<uint8_t>(payload_bytes >> (8 * (length_bytes - 1 - i)));
  return 2 + length_bytes;
}

void append_websocket_control(std::string* out, WebSocketOpcode opcode, std::string_view payload) {
  uint8_t header[kWebSocketHeaderMax];
  const size_t size = write_websocket_header(header, opcode, payload.size());
  out->append(reinterpret_cast<const char*>(header), size).append(payload);
}

void append_websocket_close(std::string* out, WebSocketStatus status) {
  const auto code = static_cast<uint16_t>(status);
  const char payload[2] = {static_cast<char>(code >> 8), static_cast<char>(code & 0xff)};
  append_websocket_control(out, WebSocketOpcode::close, {payload, 2});
}

size_t WebSocketReader::decode(std::span<uint8_t> bytes) {
  size_t given = 0;
  size_t at = 0;
  while (at < bytes.size() && state_ == State::reading) {
    if (!in_payload_) {
      header_[header_used_++] = bytes[at++];
      if (header_used_ == 2) begin_frame();
      if (state_ == State::reading && header_used_ == header_bytes()) begin_payload();
      continue;
    }
    const size_t part = static_cast<size_t>(std::min<uint64_t>(payload_left_, bytes.size() - at));
    const std::span<const uint8_t> masked = bytes.subspan(at, part);
    if (is_control()) {
      const size_t had = control_.size();
      control_.resize(had + part);
      unmask(reinterpret_cast<uint8_t*>(control_.data()) + had, masked, mask_, mask_at_);
    } else {
      unmask(bytes.data() + given, masked, mask_, mask_at_);
      given += part;
    }
    mask_at_ = static_cast<uint8_t>((mask_at_ + part) & 3);
    at += part;
    payload_left_ -= part;
    if (payload_left_ == 0) end_frame();
  }
  return given;
}

// Of the whole header, as far as its first two bytes tell.
size_t WebSocketReader::header_bytes() const {
  if (header_used_ < 2) return 2;
  const uint8_t length = header_[1] & 0x7f;
  return 2u + (length == 127 ? 8u : length == 126 ? 2u : 0u) + 4u;
}

// The first two bytes are there: what is wrong with them need not wait for the rest.
void WebSocketReader::begin_frame() {
  const bool is_final = (header_[0] & kFin) != 0;
  if ((header_[0] & kReserved) != 0) return fail(WebSocketStatus::protocol_error, "a reserved bit is set");
  if ((header_[1] & kMasked) == 0) return fail(WebSocketStatus::protocol_error, "a frame is not masked");
  switch (opcode()) {
    case WebSocketOpcode::continuation:
      if (!in_message_) fail(WebSocketStatus::protocol_error, "a continuation without a message");
      return;
    case WebSocketOpcode::binary:
      if (in_message_) fail(WebSocketStatus::protocol_error, "a message inside another one");
      return;
    case WebSocketOpcode::text:
      return fail(WebSocketStatus::unsupported, "a text message");
    case WebSocketOpcode::close:
    case WebSocketOpcode::ping:
    case WebSocketOpcode::pong:
      if (!is_final) return fail(WebSocketStatus::protocol_error, "a control frame in fragments");
      if ((header_[1] & 0x7f) > kWebSocketControlMax) fail(WebSocketStatus::protocol_error, "a control frame is too long");
      return;
  }
  fail(WebSocketStatus::protocol_error, "an unknown opcode");
}

void WebSocketReader::begin_payload() {
  const uint8_t length = header_[1] & 0x7f;
  const size_t length_bytes = header_used_ - 2u - 4u;
  uint64_t size = length;
  if (length_bytes > 0) {
    size = 0;
    for (size_t i = 0; i < length_bytes; ++i) size = size << 8 | header_[2 + i];
    // RFC 6455 5.2: the shortest spelling, and no sign bit.
    if (size < (length_bytes == 2 ? 126u : 65536u) || size >> 63 != 0)
      return fail(WebSocketStatus::protocol_error, "the length of a frame is misspelt");
  }
  if (size > frame_bytes_max_) return fail(WebSocketStatus::too_big, "a frame is too long");
  std::memcpy(mask_, header_ + header_used_ - 4, 4);
  mask_at_ = 0;
  payload_left_ = size;
  in_payload_ = true;
  if (is_control()) control_.clear();
  if (size == 0) end_frame();
}

void WebSocketReader::end_frame() {
  in_payload_ = false;
  header_used_ = 0;
  switch (opcode()) {
    case WebSocketOpcode::close:
      return end_close();
    case WebSocketOpcode::ping:
      has_ping_ = true;
      ping_ = std::exchange(control_, {});
      return;
    case WebSocketOpcode::pong:
      control_ = {};
      return;
    case WebSocketOpcode::continuation:
    case WebSocketOpcode::text:
    case WebSocketOpcode::binary:
      in_message_ = (header_[0] & kFin) == 0;
      return;
  }
}

void WebSocketReader::end_close() {
  if (control_.size() == 1) return fail(WebSocketStatus::protocol_error, "a close frame of one byte");
  if (control_.size() >= 2) {
    const auto high = static_cast<uint8_t>(control_[0]), low = static_cast<uint8_t>(control_[1]);
    if (!is_close_status(static_cast<uint16_t>(high << 8 | low)))
      return fail(WebSocketStatus::protocol_error, "the status of a close frame is not allowed");
    if (!is_utf8(std::string_view(control_).substr(2)))
      return fail(WebSocketStatus::protocol_error, "the reason of a close frame is not UTF-8");
  }
  state_ = State::closed;
}

bool WebSocketReader::take_ping(std::string* payload) {
  if (!has_ping_) return false;
  has_ping_ = false;
  *payload = std::exchange(ping_, {});
  return true;
}

void WebSocketReader::fail(WebSocketStatus status, std::string_view why) {
  state_ = State::failed;
  status_ = status;
  why_ = why;
}

}  // namespace robustmq::net
