// What compaction may be told, and what it counts. Pure.
#pragma once

#include <cstdint>

#include "base/describe.h"

namespace robustmq::broker {

struct CompactionOptions {
  int64_t check_ms = 15'000;
  int64_t memory_bytes = 128 << 20;
  int64_t bytes_per_second = 64 << 20;

  template <class V>
  static void describe(V& v) {
    using C = CompactionOptions;
    v.field(
        "check_ms", &C::check_ms,
        {.doc = "How often each core looks for partitions to compact; it compacts one at a time, the one with the largest share "
                "of new records first.",
         .unit = "ms",
         .min = 10});
    v.field(
        "memory_bytes", &C::memory_bytes,
        {.doc = "Memory for the keys of the partition at hand, a core; taken as far as it is needed. 12 bytes a key, of which a "
                "tenth is left free: 10 million keys in 128 MiB. What has no room is compacted by the next run.",
         .unit = "bytes",
         .min = 1 << 10,
         .max = 1LL << 36});
    v.field("bytes_per_second", &C::bytes_per_second,
            {.doc = "Bytes a second that compaction reads, a core; 0: no limit.", .unit = "bytes", .min = 0});
  }
};

// Counted per core.
struct CompactionMetrics {
  uint64_t runs_total = 0;
  uint64_t runs_failed_total = 0;
  uint64_t runs_without_room_total = 0;
  uint64_t read_bytes_total = 0;
  uint64_t before_bytes_total = 0;
  uint64_t after_bytes_total = 0;
  uint64_t records_removed_total = 0;
  uint64_t records_without_key_total = 0;
  uint64_t tombstones_removed_total = 0;
  uint64_t markers_removed_total = 0;
  uint64_t batches_unreadable_total = 0;
  int64_t partitions = 0;
  int64_t partitions_uncleanable = 0;
  int64_t dirty_bytes = 0;
  int64_t dirty_percent_max = 0;

  template <class V>
  static void describe(V& v) {
    using M = CompactionMetrics;
    v.field("runs_total", &M::runs_total, {.doc = "Partitions compacted."});
    v.field("runs_failed_total", &M::runs_failed_total, {.doc = "Runs that ended before their end; they are tried again."});
    v.field("runs_without_room_total", &M::runs_without_room_total,
            {.doc = "Runs whose memory was full of keys; the rest waits for the next one."});
    v.field("read_bytes_total", &M::read_bytes_total, {.doc = "Bytes that compaction read.", .unit = "bytes"});
    v.field("before_bytes_total", &M::before_bytes_total, {.doc = "Bytes of what was compacted, before.", .unit = "bytes"});
    v.field("after_bytes_total", &M::after_bytes_total, {.doc = "Bytes of the same, after.", .unit = "bytes"});
    v.field("records_removed_total", &M::records_removed_total, {.doc = "Records removed by compaction."});
    v.field("records_without_key_total", &M::records_without_key_total, {.doc = "Of these, records without a key."});
    v.field("tombstones_removed_total", &M::tombstones_removed_total, {.doc = "Of these, tombstones whose time was over."});
    v.field("markers_removed_total", &M::markers_removed_total,
            {.doc = "Markers of transactions of which nothing was left, removed by compaction."});
    v.field("batches_unreadable_total", &M::batches_unreadable_total,
            {.doc = "Batches that compaction left as they are, because their records could not be read."});
    v.field("partitions", &M::partitions, {.doc = "Partitions that are compacted."});
    v.field(
        "partitions_uncleanable", &M::partitions_uncleanable,
        {.doc = "Partitions that cannot be compacted until their settings change or the node starts again: damaged, or with a "
                "batch of more keys than compaction.memory_bytes holds."});
    v.field("dirty_bytes", &M::dirty_bytes,
            {.doc = "Bytes of sealed segments that compaction has not looked at yet, about.", .unit = "bytes"});
    v.field("dirty_percent_max", &M::dirty_percent_max,
            {.doc = "Share of such bytes in the partition where it is largest.", .unit = "percent"});
  }
};

}  // namespace robustmq::broker
