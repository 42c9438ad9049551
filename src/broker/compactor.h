// Compactor: has the partitions of this core compacted, one at a time, the one that needs it most first. Lives on its core.
//
// At each look it measures every open partition of a compacted topic; one is taken when the share of its new bytes is above its
// topic's dirty_ratio_min, or its oldest new part is older than compaction_lag_max_ms. After a run it looks again, until nothing
// is left to do; what a run did not change is left alone until the next check. A partition that is damaged is not tried again
// until its settings change.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/anchor.h"
#include "broker/compaction_options.h"
#include "broker/streams.h"
#include "runtime/core.h"
#include "runtime/timer.h"

namespace robustmq::broker {

class Compactor {
 public:
  Compactor(runtime::Core& core, Streams& streams, const CompactionOptions& options)
      : core_(core), streams_(streams), options_(options), timer_(&Compactor::on_timer, this) {}

  void start();
  // The topic's settings are others, or it is gone.
  void changed(const TopicId& topic);
  const CompactionMetrics& metrics() const { return metrics_; }

 private:
  struct Candidate {
    ShardId id;
    double ratio = 0;
    bool is_overdue = false;
    bool goes_before(const Candidate& other) const { return is_overdue != other.is_overdue ? is_overdue : ratio > other.ratio; }
  };

  static void on_timer(void* self);
  void look();
  void measure_next();
  void judge(const ShardId& id, const shard::CompactionDirt& dirt);
  void take_best();
  void on_compacted(const ShardId& id, const Result<shard::Compacted>& result);
  // Goes on in a later turn: what completes may be on the stack of a shard that goes.
  void later(void (Compactor::*next)());

  runtime::Core& core_;
  Streams& streams_;
  const CompactionOptions options_;
  CompactionMetrics metrics_;
  runtime::Timer timer_;
  std::vector<ShardId> to_measure_;
  std::optional<Candidate> best_;
  std::optional<ShardId> at_hand_;  // measured or compacted
  uint64_t operation_ = 0;          // of at_hand_
  std::set<ShardId> left_alone_;    // until the next check
  std::set<ShardId> uncleanable_;
  int64_t dirty_bytes_ = 0;
  double dirty_most_ = 0;
  AnchorOwner<Compactor> anchor_;
};

}  // namespace robustmq::broker
