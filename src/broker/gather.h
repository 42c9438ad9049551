// Gather: what was read of a log as one run of memory; stored ranges are read from their files. Not pure.
#pragma once

#include "base/bytes.h"
#include "base/callback.h"
#include "base/pieces.h"
#include "base/result.h"
#include "runtime/core.h"

namespace robustmq::broker {

// `done` comes on this core, inline where nothing is read from a file. Errors: corrupt_storage, storage_failed.
void gather(runtime::Core& core, Pieces pieces, Callback<void(Result<Bytes>)> done);

}  // namespace robustmq::broker
