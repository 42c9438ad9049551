// The LZ4 frame format by liblz4, which verifies the header checksum.
#include <lz4frame.h>

#include "base/check.h"
#include "compress/codecs.h"
#include "compress/output.h"

namespace robustmq::compress {
namespace {

struct Lz4Decoder {
  LZ4F_dctx* context = nullptr;
  Lz4Decoder() {
    ROBUSTMQ_CHECK(!LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION)), "LZ4F_createDecompressionContext");
  }
  ~Lz4Decoder() { LZ4F_freeDecompressionContext(context); }
};

}  // namespace

Result<Bytes> decompress_lz4(ByteSpan input, size_t bytes_max) {
  Lz4Decoder decoder;
  Output output(bytes_max, input.size() * 3);
  while (true) {
    const std::span<uint8_t> room = output.room();
    size_t produced = room.size();
    size_t consumed = input.size();
    const size_t hint = LZ4F_decompress(decoder.context, room.data(), &produced, input.data(), &consumed, nullptr);
    if (LZ4F_isError(hint)) return Error{Code::malformed, std::string("lz4: ") + LZ4F_getErrorName(hint)};
    output.wrote(produced);
    input = input.subspan(consumed);
    if (output.is_over()) return over_limit(bytes_max);
    if (hint == 0) break;
    if (consumed == 0 && produced == 0) return Error{Code::malformed, "lz4: cut short"};
  }
  if (!input.empty()) return Error{Code::malformed, "lz4: bytes behind the frame"};
  return output.take();
}

Result<Bytes> compress_lz4(ByteSpan input) {
  LZ4F_preferences_t preferences = LZ4F_INIT_PREFERENCES;
  preferences.frameInfo.blockSizeID = LZ4F_max64KB;
  preferences.frameInfo.blockMode = LZ4F_blockIndependent;
  Buffer out;
  const size_t bound = LZ4F_compressFrameBound(input.size(), &preferences);
  const size_t size = LZ4F_compressFrame(out.extend(bound), bound, input.data(), input.size(), &preferences);
  if (LZ4F_isError(size)) return Error{Code::internal, std::string("lz4: ") + LZ4F_getErrorName(size)};
  out.shorten_to(size);
  return out.take();
}

}  // namespace robustmq::compress
