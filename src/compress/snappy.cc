// snappy, raw and in xerial's framing.
#include <snappy.h>

#include "compress/codecs.h"

namespace robustmq::compress {
namespace {

constexpr std::string_view kXerialMagic("\x82SNAPPY\0", 8);
constexpr size_t kXerialHeaderBytes = 16;  // magic, version, oldest compatible version
constexpr size_t kXerialBlockBytes = 32 << 10;
// The longest copy of the format makes 64 bytes of 3, so more than this many bytes of one are a lie.
constexpr size_t kRatioMax = 22;

uint32_t u32(ByteSpan at) { return static_cast<uint32_t>(at[0]) << 24 | at[1] << 16 | at[2] << 8 | at[3]; }
void append_u32(uint32_t value, Buffer& to) {
  for (int shift = 24; shift >= 0; shift -= 8) to.append_u8(static_cast<uint8_t>(value >> shift));
}

bool starts_with_magic(ByteSpan input) { return as_text(input).starts_with(kXerialMagic) && input.size() >= kXerialHeaderBytes; }

// Appends the plain bytes of one raw block.
Status append_raw(ByteSpan input, size_t bytes_max, Buffer& out) {
  const auto* at = reinterpret_cast<const char*>(input.data());
  size_t size = 0;
  if (!snappy::GetUncompressedLength(at, input.size(), &size)) return Error{Code::malformed, "snappy: no length"};
  if (size > bytes_max - out.size()) return over_limit(bytes_max);
  if (size > input.size() * kRatioMax) return Error{Code::malformed, "snappy: the length cannot be true"};
  if (size == 0) return snappy::IsValidCompressedBuffer(at, input.size()) ? Status() : Error{Code::malformed, "snappy: damaged"};
  if (!snappy::RawUncompress(at, input.size(), reinterpret_cast<char*>(out.extend(size)))) {
    return Error{Code::malformed, "snappy: damaged"};
  }
  return {};
}

}  // namespace

Result<Bytes> decompress_snappy(ByteSpan input, size_t bytes_max) {
  Buffer out;
  if (!starts_with_magic(input)) {
    const Status status = append_raw(input, bytes_max, out);
    if (!status.ok()) return status.error();
    return out.take();
  }
  while (!input.empty()) {
    if (starts_with_magic(input)) {
      input = input.subspan(kXerialHeaderBytes);
      continue;
    }
    if (input.size() < 4) return Error{Code::malformed, "snappy: cut short"};
    const uint32_t length = u32(input);
    if (length > input.size() - 4) return Error{Code::malformed, "snappy: a block longer than the rest"};
    const Status status = append_raw(input.subspan(4, length), bytes_max, out);
    if (!status.ok()) return status.error();
    input = input.subspan(4 + length);
  }
  return out.take();
}

Result<Bytes> compress_snappy(ByteSpan input) {
  Buffer out(kXerialHeaderBytes + input.size() / 2);
  out.append(kXerialMagic);
  append_u32(1, out);
  append_u32(1, out);
  std::string block;
  while (!input.empty()) {
    const ByteSpan plain = input.first(std::min(input.size(), kXerialBlockBytes));
    snappy::Compress(reinterpret_cast<const char*>(plain.data()), plain.size(), &block);
    append_u32(static_cast<uint32_t>(block.size()), out);
    out.append(std::string_view(block));
    input = input.subspan(plain.size());
  }
  return out.take();
}

}  // namespace robustmq::compress
