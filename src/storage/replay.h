// Replay: reads a log's batches one after another, at start. Not pure: stored ranges are read from their files.
#pragma once

#include "base/batch.h"
#include "base/callback.h"
#include "base/ids.h"
#include "base/result.h"
#include "runtime/core.h"
#include "storage/log.h"

namespace robustmq::storage {

// Gives every batch of `log` from the one that holds `from` on to `each`, then calls `done`; inline when the log reads inline.
// The first batch may begin below `from`. When `is_wanted` turns false (the owner of the log is gone) it ends without another
// call. The first status of `each` that is not ok ends it too, and is what `done` gets. Errors else: corrupt_storage,
// storage_failed.
void replay_batches(runtime::Core& core, Log& log, Offset from, Callback<bool()> is_wanted, Callback<Status(ByteSpan)> each,
                    Callback<void(Status)> done);

}  // namespace robustmq::storage
