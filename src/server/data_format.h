// The data directory's format file: what wrote the directory and in which format, so that newer data is refused by name instead
// of being misread. Not pure (reads and writes through the core's disk).
//
// File "format": one line of text,
//   RobustMQ data format <format> <CRC-32C of what stands before it, 8 hex digits>\n
// Written to "format.tmp", synced, then renamed. An empty directory has none yet. Formats: 1 kept the key-value rows in a log of
// the segment engine; since 2 they are RocksDB's, in the folder "rows". A directory of an older format becomes one of this at its
// next start, and an older version refuses it from then on.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "runtime/core.h"
#include "runtime/task.h"

namespace robustmq::server {

constexpr uint32_t kDataFormat = 2;

// Checks the file, or writes it where there is none or an older one. Errors: not_supported (newer data), corrupt_storage,
// storage_*.
runtime::Task<Status> claim_data_directory(runtime::Core& core);

}  // namespace robustmq::server
