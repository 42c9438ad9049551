// The index file of a segment: what SegmentIndex knows, kept beside the segment when it is sealed, so that the first read after a
// start reads a few KiB of it instead of the whole segment. Pure.
//
// It is a help, never the truth: it is not synced, a missing or wrong one is made again by reading the segment, and a batch that
// it leads to is verified before it is given to a reader.
//
// File `<base offset, 20 digits>.idx` (little-endian):
//   0 magic "RMQI" (4)   4 CRC-32C of all behind it (4)   8 format version (4)   12 number of blocks (4)   16 base offset (8)
//   24 end offset (8)   32 bytes of the segment that it covers, from its beginning (8)   40 blocks
// Block (16): offset behind base (4), position and, in bit 31, whether the block is one batch (4), max timestamp (8).
#pragma once

#include "base/bytes.h"
#include "base/result.h"
#include "storage/segment/index.h"

namespace robustmq::storage::segment {

// `index` covers its segment from the beginning to `end`.
Bytes encode_index(const SegmentIndex& index, Offset base, Offset end);
// Size of the file for a number of blocks.
constexpr uint64_t index_file_bytes(uint64_t blocks) { return 40 + 16 * blocks; }

// The index of a segment of this base whose first `size` bytes end at offset `end`; no block of it is verified. Errors:
// corrupt_storage (damaged, or of another state of the segment), not_supported (a newer format).
Result<SegmentIndex> decode_index(ByteSpan bytes, Offset base, Offset end, uint64_t size, uint32_t interval);

}  // namespace robustmq::storage::segment
