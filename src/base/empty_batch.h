// A stored batch without records: what compaction leaves of batches whose records are gone. It covers their offsets, so that the
// chain has no gap, and may keep a producer's last sequence. Pure.
#pragma once

#include <cstdint>

#include "base/batch.h"
#include "base/bytes.h"
#include "base/ids.h"

namespace robustmq {

struct EmptyBatch {
  Offset base = 0;
  Offset last = 0;  // last - base < 2^31
  LeaderEpoch leader_epoch = -1;
  ProducerId producer = -1;
  int16_t producer_epoch = -1;
  int32_t base_sequence = -1;
  bool is_transactional = false;
};
// 61 bytes, CRC included; no time, no compression.
Bytes encode_empty_batch(const EmptyBatch& batch);

}  // namespace robustmq
