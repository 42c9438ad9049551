// One pair of functions a codec; private to this room. Pure.
#pragma once

#include "base/bytes.h"
#include "base/result.h"

namespace robustmq::compress {

Result<Bytes> decompress_gzip(ByteSpan input, size_t bytes_max);
Result<Bytes> decompress_snappy(ByteSpan input, size_t bytes_max);
Result<Bytes> decompress_lz4(ByteSpan input, size_t bytes_max);
Result<Bytes> decompress_zstd(ByteSpan input, size_t bytes_max);

Result<Bytes> compress_gzip(ByteSpan input);
Result<Bytes> compress_snappy(ByteSpan input);
Result<Bytes> compress_lz4(ByteSpan input);
Result<Bytes> compress_zstd(ByteSpan input);

inline Error over_limit(size_t bytes_max) {
  return {Code::too_large, "decompresses to more than " + std::to_string(bytes_max) + " bytes"};
}

}  // namespace robustmq::compress
