// Compacting: one run of a shard's compaction. Owned by its shard and by the completion it waits for. Lives on the shard's core.
//
// 1. The keys of what is new are read into a map (key_map.h), up to the last stable offset, what stored sessions wait for, the
//    minimum lag, or a full map.
// 2. Every sealed part up to there, from the log's start on, is read again; what the cleaner keeps of it is written beside it and
//    takes its place (storage/log.h, Rewrite). Small neighbours become one part.
// 3. Up to where it was compacted is kept with the shard's state.
// It works in steps of kStepBytes with a turn of the core between two of them, and sleeps where it would go too fast. A run that
// ends early, in a crash or otherwise, has cleaned some parts: the next one begins anew, and finds less.
#pragma once

#include <memory>
#include <vector>

#include "runtime/timer.h"
#include "shard/compaction.h"
#include "shard/shard.h"
#include "storage/activity.h"

namespace robustmq::shard {

class Shard::Compacting final : public storage::Activity {
 public:
  Compacting(Shard& shard, const CompactionSettings& settings, Callback<void(Result<Compacted>)> done)
      : shard_(&shard), core_(shard.core_), settings_(settings), done_(std::move(done)) {}

  runtime::Task<> run();
  // The shard goes.
  void cancel();

  class Passing;  // passing.h

  static constexpr uint64_t kStepBytes = 256 << 10;

 private:
  struct Group {
    Offset from = 0;
    Offset until = 0;
    uint64_t bytes = 0;
    size_t parts = 0;
  };

  runtime::Task<Result<Compacted>> compact();
  runtime::Task<Status> map_new(Offset from, Offset limit, const AbortedBy& aborted);
  runtime::Task<Status> clean(Group group, Cleaner& cleaner);
  runtime::Task<Status> begin_rewrite(Group group);
  runtime::Task<Status> copy(Offset from, Offset until);
  runtime::Task<Status> read(Offset from, Offset until);
  runtime::Task<Status> add(std::vector<Bytes> batches);
  runtime::Task<Status> pause(uint64_t bytes);
  std::vector<Group> groups_of(const std::vector<storage::SealedPart>& parts) const;

  Shard* shard_;  // nullptr: it is gone, and so is who waits
  runtime::Core& core_;
  CompactionSettings settings_;
  Callback<void(Result<Compacted>)> done_;
  Compacted result_;
  std::unique_ptr<KeyMap> keys_;
  std::unique_ptr<storage::Rewrite> rewrite_;
  Bytes step_;            // what read() read: whole batches
  Offset step_next_ = 0;  // and where it ended
  uint64_t written_ = 0;  // of the group at hand
  int64_t owed_ns_ = 0;   // to sleep
  Callback<void(bool)> on_timer_;
  runtime::Timer timer_{[](void* self) { std::exchange(static_cast<Compacting*>(self)->on_timer_, {})(true); }, this};
};

}  // namespace robustmq::shard
