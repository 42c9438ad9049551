// Passing: a read of what was compacted that begins with a batch with records. Owned by the completion it waits for. Lives on the
// shard's core.
//
// Some clients fail on an answer that holds empty batches alone, others wait for more behind a gap. So empty batches in front are
// left out, and where a part holds nothing else, the next one is read. Only where nothing but empty batches is left up to the end
// of what the reader may have, they are what it gets: so it comes to the end.
#pragma once

#include "shard/compacting.h"

namespace robustmq::shard {

class Shard::Compacting::Passing final : public storage::Activity {
 public:
  Passing(Shard& shard, storage::ReadLimits limits, Fetched fetched, Callback<void(Result<Fetched>)> done)
      : shard_(shard.anchor_.anchor(&shard)),
        core_(shard.core_),
        limits_(limits),
        fetched_(std::move(fetched)),
        done_(std::move(done)) {}

  // `read`: from fetched.next on.
  runtime::Task<> run(storage::ReadResult read);

 private:
  // Whether a batch with records is left.
  runtime::Task<bool> leave_out_empty(Pieces& pieces);

  Anchor<Shard> shard_;  // where it is gone nobody waits
  runtime::Core& core_;
  storage::ReadLimits limits_;
  Fetched fetched_;
  Callback<void(Result<Fetched>)> done_;
};

}  // namespace robustmq::shard
