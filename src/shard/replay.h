// Replay: reads a log's batches one after another, at start. Not pure: stored ranges are read from their files.
#pragma once

#include "base/batch.h"
#include "base/callback.h"
#include "base/ids.h"
#include "base/result.h"
#include "runtime/core.h"
#include "shard/anchor.h"
#include "storage/log.h"

namespace robustmq::shard {

class Shard;

// Gives every batch of `log` from the one that holds `from` on to `each`, then calls `done`; inline when the log reads inline.
// When the owner of the log is gone (`owner` says so), it ends without another call. Errors: corrupt_storage, storage_failed.
void replay_batches(runtime::Core& core, storage::Log& log, Offset from, Anchor<Shard> owner,
                    Callback<void(const BatchView&)> each, Callback<void(Status)> done);

}  // namespace robustmq::shard
