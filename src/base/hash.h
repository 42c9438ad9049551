// Hashes with a fixed meaning for ever: CRC-32C (record batches, frames), murmur2 (Kafka's partitioner), hash64 (slots, names).
// Pure.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"

namespace robustmq {

// CRC-32C (Castagnoli) of `bytes`, continuing `crc` (0 at the start). Uses the CPU's instruction where there is one.
uint32_t crc32c(ByteSpan bytes, uint32_t crc = 0);

// Kafka's murmur2 with its seed; partition = (murmur2(key) & 0x7fffffff) % partitions.
uint32_t murmur2(ByteSpan key);
int32_t partition_of(ByteSpan key, int32_t partitions);

// 64-bit hash (xxHash64, seed 0). Stored: a slot follows from it, so it never changes.
uint64_t hash64(ByteSpan bytes);

}  // namespace robustmq
