// The four codecs of Kafka's record batches, both ways, with bounded output. Pure.
//
//   gzip    RFC 1952, one or more members
//   snappy  raw, or xerial framing: 0x82 "SNAPPY" 0x00, two 4-byte versions (not looked at), then blocks of 4-byte big-endian
//           length and raw snappy; the magic may come again between blocks. Written: xerial, blocks of 32 KiB.
//   lz4     one LZ4 frame, header checksum verified; content size, block and content checksums are verified where present
//   zstd    one or more frames; skippable frames are passed over
#pragma once

#include "base/batch.h"
#include "base/bytes.h"
#include "base/result.h"

namespace robustmq::compress {

// The plain bytes of `input`. Output is produced piecewise, so what the input claims costs nothing: memory stays within twice
// the smaller of `bytes_max` and what was really produced, and the codec's own window (at most 8 MiB or bytes_max, the larger).
// Errors: malformed (not this format, cut short, a checksum that fails, bytes behind the end), too_large (more than `bytes_max`),
// unsupported_compression (a codec number that nobody has given a meaning).
Result<Bytes> decompress(Compression codec, ByteSpan input, size_t bytes_max);

// `input` in the codec's format, as Kafka's own clients write it. Errors: unsupported_compression, internal (the library failed).
Result<Bytes> compress(Compression codec, ByteSpan input);

}  // namespace robustmq::compress
