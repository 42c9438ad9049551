#include "compress/codec.h"

#include "compress/codecs.h"

namespace robustmq::compress {

Result<Bytes> decompress(Compression codec, ByteSpan input, size_t bytes_max) {
  switch (codec) {
    case Compression::none:
      if (input.size() > bytes_max) return over_limit(bytes_max);
      return Bytes::copy_of(input);
    case Compression::gzip:
      return decompress_gzip(input, bytes_max);
    case Compression::snappy:
      return decompress_snappy(input, bytes_max);
    case Compression::lz4:
      return decompress_lz4(input, bytes_max);
    case Compression::zstd:
      return decompress_zstd(input, bytes_max);
  }
  return Error{Code::unsupported_compression, "codec " + std::to_string(static_cast<int>(codec))};
}

Result<Bytes> compress(Compression codec, ByteSpan input) {
  switch (codec) {
    case Compression::none:
      return Bytes::copy_of(input);
    case Compression::gzip:
      return compress_gzip(input);
    case Compression::snappy:
      return compress_snappy(input);
    case Compression::lz4:
      return compress_lz4(input);
    case Compression::zstd:
      return compress_zstd(input);
  }
  return Error{Code::unsupported_compression, "codec " + std::to_string(static_cast<int>(codec))};
}

}  // namespace robustmq::compress
