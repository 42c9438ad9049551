// The wire codec's primitives. Pure.
#include "base/wire.h"

namespace robustmq::wire {

void put_uvarint(uint64_t value, Buffer& to) {
  uint8_t bytes[10];
  to.append(ByteSpan(bytes, put_varint(bytes, value)));
}

void put_fixed(uint64_t value, size_t bytes, Buffer& to) {
  uint8_t* at = to.extend(bytes);
  for (size_t i = 0; i < bytes; ++i) at[i] = static_cast<uint8_t>(value >> (8 * i));
}

size_t begin_envelope(Buffer& to) {
  const size_t at = to.size();
  to.extend(kEnvelopeBytes);
  return at;
}

void finish_envelope(size_t at, size_t version, uint8_t oldest_reader, Buffer& to) {
  const size_t length = to.size() - at - kEnvelopeBytes;
  ROBUSTMQ_CHECK(version <= UINT8_MAX, "a described struct has over 255 fields");
  ROBUSTMQ_CHECK(length <= UINT32_MAX, "a described struct takes over 4 GiB");
  uint8_t* envelope = to.data() + at;
  envelope[0] = static_cast<uint8_t>(version);
  envelope[1] = oldest_reader;
  for (size_t i = 0; i < 4; ++i) envelope[2 + i] = static_cast<uint8_t>(length >> (8 * i));
}

void Reader::fail(Code code, std::string_view what) {
  if (failed()) return;
  error_ = Error{code, std::string(what)};
  rest_ = {};
}

void Reader::name_failure(std::string_view field) {
  // "config: mode: unknown value"
  error_.detail.insert(0, std::string(field) + ": ");
}

uint64_t Reader::uvarint() {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (rest_.empty()) {
      fail(Code::malformed, "cut short");
      return 0;
    }
    const uint8_t byte = rest_.front();
    rest_ = rest_.subspan(1);
    if (shift == 63 && byte > 1) break;
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  fail(Code::malformed, "number too long");
  return 0;
}

uint64_t Reader::fixed(size_t bytes) {
  const ByteSpan span = take(bytes);
  uint64_t value = 0;
  for (size_t i = 0; i < span.size(); ++i) value |= static_cast<uint64_t>(span[i]) << (8 * i);
  return value;
}

ByteSpan Reader::take(uint64_t length) {
  if (failed()) return {};
  if (length > rest_.size()) {
    fail(Code::malformed, "cut short");
    return {};
  }
  const ByteSpan taken = rest_.first(length);
  rest_ = rest_.subspan(length);
  return taken;
}

}  // namespace robustmq::wire
