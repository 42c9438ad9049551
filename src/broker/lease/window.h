// Window: batches of a shard that were read for a queue, one behind the other in memory. Pure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/batch.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/pieces.h"
#include "base/result.h"
#include "broker/menu/queues.h"
#include "shard/open_transactions.h"

namespace robustmq::broker {

class Window {
 public:
  struct Batch {
    Offset base = 0;
    Offset next = 0;
    size_t at = 0;
    size_t size = 0;
    bool is_void = false;  // a control batch, aborted, or emptied: its offsets are nobody's
  };

  // `from`: the offset that was read at. Error: corrupt_storage.
  static Result<Window> of(Offset from, Offset next, Bytes bytes, const std::vector<shard::AbortedRange>& aborted);

  Offset from() const { return from_; }
  Offset next() const { return next_; }
  bool holds(Offset offset) const { return from_ <= offset && offset < next_; }
  const std::vector<Batch>& batches() const { return batches_; }
  // The first batch with offsets at or past this one.
  size_t find(Offset offset) const;
  // Where the last batch ends that goes with the one at `offset` into so many bytes; at least that one.
  Offset end_within(Offset offset, uint64_t bytes) const;
  Bytes bytes_of(const Batch& batch) const { return bytes_.slice(batch.at, batch.size); }
  // Adds the batches with records of `ranges` (ascending), joining neighbours.
  void add_batches(const std::vector<LeasedRange>& ranges, Pieces& to) const;

 private:
  Offset from_ = 0;
  Offset next_ = 0;
  Bytes bytes_;
  std::vector<Batch> batches_;
};

}  // namespace robustmq::broker
