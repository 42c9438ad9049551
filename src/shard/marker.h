// Marker: the control batch that ends a producer's transaction in a shard. Pure.
//
// A batch of one record, transactional and control, without sequence: key version (2) and type (2; 0 abort, 1 commit), value
// version (2) and coordinator epoch (4), as Kafka writes it.
#pragma once

#include <optional>

#include "base/batch.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/time.h"

namespace robustmq::shard {

struct Marker {
  ProducerId producer = -1;
  int16_t epoch = -1;
  bool commits = false;
};

Bytes marker_batch(const Marker& marker, WallTime now);
// nullopt: a control batch of another kind, or none.
std::optional<Marker> marker_of(const BatchView& batch);

}  // namespace robustmq::shard
