// zstd frames by libzstd.
#include <zstd.h>
#include <zstd_errors.h>

#include <bit>

#include "base/check.h"
#include "compress/codecs.h"
#include "compress/output.h"

namespace robustmq::compress {
namespace {

// A frame may ask for a window of gigabytes. What the usual levels ask for, or the whole output, is given.
constexpr int kWindowLogLeast = 23;
constexpr int kWindowLogMost = 27;
constexpr int kLevel = 3;

struct ZstdDecoder {
  ZSTD_DCtx* context = ZSTD_createDCtx();
  ZstdDecoder() { ROBUSTMQ_CHECK(context != nullptr, "ZSTD_createDCtx"); }
  ~ZstdDecoder() { ZSTD_freeDCtx(context); }
};

}  // namespace

Result<Bytes> decompress_zstd(ByteSpan input, size_t bytes_max) {
  if (input.empty()) return Error{Code::malformed, "zstd: empty"};
  ZstdDecoder decoder;
  const int window_log = std::clamp(static_cast<int>(std::bit_width(bytes_max)), kWindowLogLeast, kWindowLogMost);
  ZSTD_DCtx_setParameter(decoder.context, ZSTD_d_windowLogMax, window_log);
  Output output(bytes_max, input.size() * 4);
  ZSTD_inBuffer in{input.data(), input.size(), 0};
  size_t hint = 0;  // 0: at the end of a frame
  while (true) {
    const std::span<uint8_t> room = output.room();
    ZSTD_outBuffer out{room.data(), room.size(), 0};
    const size_t consumed_before = in.pos;
    hint = ZSTD_decompressStream(decoder.context, &out, &in);
    if (ZSTD_isError(hint)) {
      if (ZSTD_getErrorCode(hint) == ZSTD_error_frameParameter_windowTooLarge) return over_limit(bytes_max);
      return Error{Code::malformed, std::string("zstd: ") + ZSTD_getErrorName(hint)};
    }
    output.wrote(out.pos);
    if (output.is_over()) return over_limit(bytes_max);
    const bool moved = out.pos > 0 || in.pos > consumed_before;
    if (in.pos == in.size && (hint == 0 || !moved)) break;
    if (!moved) return Error{Code::malformed, "zstd: no progress"};
  }
  if (hint != 0) return Error{Code::malformed, "zstd: cut short"};
  return output.take();
}

Result<Bytes> compress_zstd(ByteSpan input) {
  Buffer out;
  const size_t bound = ZSTD_compressBound(input.size());
  const size_t size = ZSTD_compress(out.extend(bound), bound, input.data(), input.size(), kLevel);
  if (ZSTD_isError(size)) return Error{Code::internal, std::string("zstd: ") + ZSTD_getErrorName(size)};
  out.shorten_to(size);
  return out.take();
}

}  // namespace robustmq::compress
