// Kafka's wire forms: the verbs that are not one line. Pure.
#include "protocol/kafka/frames/wire.h"

namespace robustmq::kafka {

bool Records::operator==(const Records& other) const {
  if (size() != other.size()) return false;
  std::string left, right;
  for (const Pieces* side : {&pieces, &other.pieces}) {
    std::string& text = side == &pieces ? left : right;
    for (const Piece& piece : *side) {
      text += piece.is_stored() ? std::to_string(piece.stored.position) + "@" : std::string(piece.bytes.text());
    }
  }
  return left == right;
}

Uuid Reader::uuid() {
  Uuid value;
  if (left() < 16) {
    fail("the frame ends too early");
    return value;
  }
  std::memcpy(value.bytes.data(), at_, 16);
  at_ += 16;
  return value;
}

uint32_t Reader::uvarint() {
  uint32_t value = 0;
  for (int shift = 0; shift < 35; shift += 7) {
    const uint8_t byte = u8();
    if (shift == 28 && byte > 0x0f) break;
    value |= static_cast<uint32_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  fail("a variable-length number is too long");
  return 0;
}

int64_t Reader::length(bool flexible, int width) {
  const int64_t value = flexible ? int64_t{uvarint()} - 1 : width == 2 ? int64_t{i16()} : int64_t{i32()};
  if (!ok()) return 0;
  if (value < -1) {
    fail("a length is negative");
    return 0;
  }
  return value;
}

Bytes Reader::slice(size_t size) {
  if (size > left()) {
    fail("the frame ends too early");
    return {};
  }
  const size_t from = static_cast<size_t>(at_ - frame_.data());
  at_ += size;
  return frame_.slice(from, size);
}

std::string_view Reader::string(bool flexible) {
  const int64_t size = length(flexible, 2);
  if (size < 0) {
    fail("a string is null");
    return {};
  }
  if (static_cast<size_t>(size) > kStringBytesMax || static_cast<size_t>(size) > left()) {
    fail("a string is too long");
    return {};
  }
  const std::string_view text(reinterpret_cast<const char*>(at_), static_cast<size_t>(size));
  at_ += size;
  return text;
}

void Reader::nullable_string(std::optional<std::string_view>& to, bool flexible, bool null_allowed) {
  to.reset();
  const int64_t size = length(flexible, 2);
  if (size < 0) {
    if (!null_allowed) fail("a string is null");
    return;
  }
  if (static_cast<size_t>(size) > kStringBytesMax || static_cast<size_t>(size) > left()) return fail("a string is too long");
  to.emplace(reinterpret_cast<const char*>(at_), static_cast<size_t>(size));
  at_ += size;
}

Bytes Reader::bytes(bool flexible) {
  const int64_t size = length(flexible, 4);
  if (size < 0) {
    fail("bytes are null");
    return {};
  }
  return slice(static_cast<size_t>(size));
}

void Reader::nullable_bytes(std::optional<Bytes>& to, bool flexible, bool null_allowed) {
  to.reset();
  const int64_t size = length(flexible, 4);
  if (size >= 0) {
    to = slice(static_cast<size_t>(size));
  } else if (!null_allowed) {
    fail("bytes are null");
  }
}

void Reader::records(Records& to, bool flexible) {
  to.pieces.clear();
  Bytes all = bytes(flexible);
  if (!all.empty()) to.pieces.push_back(Piece::of(std::move(all)));
}

void Reader::nullable_records(std::optional<Records>& to, bool flexible, bool null_allowed) {
  std::optional<Bytes> all;
  nullable_bytes(all, flexible, null_allowed);
  to.reset();
  if (!all) return;
  to.emplace();
  if (!all->empty()) to->pieces.push_back(Piece::of(std::move(*all)));
}

void Writer::uvarint(uint64_t value) {
  while (value >= 0x80) {
    *room(1) = static_cast<uint8_t>(value | 0x80);
    value >>= 7;
  }
  *room(1) = static_cast<uint8_t>(value);
}

}  // namespace robustmq::kafka
