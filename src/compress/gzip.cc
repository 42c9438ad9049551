// gzip by zlib.
#include <zlib.h>

#include "base/check.h"
#include "compress/codecs.h"
#include "compress/output.h"

namespace robustmq::compress {
namespace {

constexpr int kGzipOnly = 16;          // zlib's way to say: gzip header, not zlib's
constexpr size_t kFeedMax = 1u << 30;  // zlib counts in 32 bits

struct Inflater {
  z_stream stream{};
  Inflater() { ROBUSTMQ_CHECK(inflateInit2(&stream, MAX_WBITS + kGzipOnly) == Z_OK, "inflateInit2"); }
  ~Inflater() { inflateEnd(&stream); }
};

}  // namespace

Result<Bytes> decompress_gzip(ByteSpan input, size_t bytes_max) {
  if (input.empty()) return Error{Code::malformed, "gzip: empty"};
  Inflater inflater;
  z_stream& stream = inflater.stream;
  Output output(bytes_max, input.size() * 4);
  bool at_member_start = true;
  while (true) {
    if (stream.avail_in == 0) {
      if (input.empty()) break;
      const size_t feed = std::min(input.size(), kFeedMax);
      stream.next_in = const_cast<uint8_t*>(input.data());
      stream.avail_in = static_cast<uInt>(feed);
      input = input.subspan(feed);
    }
    const std::span<uint8_t> room = output.room();
    stream.next_out = room.data();
    stream.avail_out = static_cast<uInt>(std::min(room.size(), kFeedMax));
    const uInt avail_out = stream.avail_out;
    at_member_start = false;
    const int code = inflate(&stream, Z_NO_FLUSH);
    output.wrote(avail_out - stream.avail_out);
    if (output.is_over()) return over_limit(bytes_max);
    if (code == Z_STREAM_END) {
      at_member_start = true;
      inflateReset(&stream);
    } else if (code != Z_OK && !(code == Z_BUF_ERROR && stream.avail_out == 0)) {
      return Error{Code::malformed, std::string("gzip: ") + (stream.msg ? stream.msg : "cut short")};
    }
  }
  // The input is consumed, yet output may wait inside the decoder.
  while (!at_member_start) {
    const std::span<uint8_t> room = output.room();
    stream.next_out = room.data();
    stream.avail_out = static_cast<uInt>(std::min(room.size(), kFeedMax));
    const uInt avail_out = stream.avail_out;
    const int code = inflate(&stream, Z_NO_FLUSH);
    output.wrote(avail_out - stream.avail_out);
    if (output.is_over()) return over_limit(bytes_max);
    if (code == Z_STREAM_END) break;
    if (code != Z_OK || avail_out == stream.avail_out) return Error{Code::malformed, "gzip: cut short"};
  }
  return output.take();
}

Result<Bytes> compress_gzip(ByteSpan input) {
  z_stream stream{};
  if (input.size() > kFeedMax) return Error{Code::too_large, "gzip: over 1 GiB"};
  if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, MAX_WBITS + kGzipOnly, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    return Error{Code::internal, "deflateInit2"};
  }
  Buffer out;
  const size_t bound = deflateBound(&stream, input.size());
  stream.next_out = out.extend(bound);
  stream.avail_out = static_cast<uInt>(bound);
  stream.next_in = const_cast<uint8_t*>(input.data());
  stream.avail_in = static_cast<uInt>(input.size());
  const int code = deflate(&stream, Z_FINISH);
  out.shorten_to(stream.total_out);
  deflateEnd(&stream);
  if (code != Z_STREAM_END) return Error{Code::internal, "deflate"};
  return out.take();
}

}  // namespace robustmq::compress
