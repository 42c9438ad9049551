// BatchWalker: walks batches that lie back to back in bytes that may be damaged. Pure.
#pragma once

#include <cstdint>

#include "base/batch.h"
#include "base/bytes.h"

namespace robustmq::storage::segment {

// Shape, sane counts and CRC; the offset and epoch must be compared besides, they lie outside the CRC.
bool is_whole_batch(ByteSpan bytes);

// Size of the batch at the front of `bytes`, or 0 when none begins there whole (cut, or no length that fits).
size_t whole_batch_size(ByteSpan bytes);

class BatchWalker {
 public:
  // `bytes` begin with the batch of offset `expected`; batches hold offsets below `end`.
  BatchWalker(ByteSpan bytes, Offset expected, Offset end) : bytes_(bytes), expected_(expected), end_(end) {}

  struct Step {
    size_t position = 0;  // in the bytes
    size_t size = 0;
    Offset offset = 0;
    Offset next = 0;
    int64_t max_timestamp = -1;
    bool is_damaged = false;  // a stretch that holds no readable batch: [offset, next)
  };
  // False at the end. A damaged stretch reaches to the next readable batch, or to the end of the bytes.
  bool next(Step& out);

 private:
  bool continues_at(size_t position, Offset from, bool exactly) const;

  ByteSpan bytes_;
  Offset expected_;
  Offset end_;
  size_t position_ = 0;
};

}  // namespace robustmq::storage::segment
