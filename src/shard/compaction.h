// What compaction of a shard is asked and tells. Pure.
#pragma once

#include <cstdint>

#include "base/ids.h"
#include "shard/cleaner.h"

namespace robustmq::shard {

struct CompactionSettings {
  int64_t delete_retention_ms = 86'400'000;  // of tombstones
  int64_t min_lag_ms = 0;                    // records younger than it are not looked at, by parts
  uint64_t map_bytes_max = 128 << 20;        // memory for the newest offsets of keys; what has no room waits for the next run
  uint64_t part_bytes_max = 256 << 20;       // parts are put together up to it
  uint64_t bytes_per_second = 0;             // read; 0: no limit
};

// How much of a log compaction would look at anew.
struct CompactionDirt {
  uint64_t clean_bytes = 0;
  uint64_t dirty_bytes = 0;      // about
  int64_t oldest_dirty_ms = -1;  // newest time of the oldest part with something dirty; -1: none
  double ratio() const {
    return dirty_bytes == 0 ? 0 : static_cast<double>(dirty_bytes) / static_cast<double>(clean_bytes + dirty_bytes);
  }
};

struct Compacted {
  Offset until = 0;  // below it each key has one record, or is counted in what stays for a while
  bool is_map_full = false;
  uint64_t bytes_read = 0;    // keys and records, so what is new twice
  uint64_t bytes_before = 0;  // of the parts looked at
  uint64_t bytes_after = 0;   // of them now
  CleaningCounts counts;
};

}  // namespace robustmq::shard
