// Options of the storage: the journal, the segment engine, the key-value rows, the memory engine. Pure.
#pragma once

#include <cstdint>

#include "base/describe.h"

namespace robustmq::storage {

struct StorageOptions {
  int64_t journal_file_bytes = 64 << 20;
  int32_t journal_files_max = 8;
  int64_t checkpoint_ms = 60'000;
  int64_t checkpoint_direct_bytes = 256 << 20;
  int64_t direct_bytes_min = 32 << 10;
  int64_t round_bytes_max = 8 << 20;
  int32_t open_files_max = 512;
  int64_t index_interval_bytes = 4096;
  int64_t index_bytes_max = 64 << 20;
  int64_t kv_log_bytes_max = 16 << 20;
  int64_t rows_write_buffer_bytes = 16 << 20;
  int64_t rows_cache_bytes = 32 << 20;
  int64_t rows_waiting_bytes_max = 64 << 20;
  int64_t rows_free_bytes_min = 64 << 20;

  template <class V>
  static void describe(V& v) {
    using S = StorageOptions;
    v.field("journal_file_bytes", &S::journal_file_bytes,
            {.doc = "Size of one file of the journal; when it is full, what it holds is checkpointed and the file is used again.",
             .unit = "bytes",
             .min = 1 << 16,
             .max = 1 << 30});
    v.field(
        "journal_files_max", &S::journal_files_max,
        {.doc = "Files the journal may have; appends wait when all are full and none is checkpointed yet.", .min = 2, .max = 64});
    v.field("checkpoint_ms", &S::checkpoint_ms,
            {.doc = "Longest time between two checkpoints while there are appends.", .unit = "ms", .min = 10});
    v.field(
        "checkpoint_direct_bytes", &S::checkpoint_direct_bytes,
        {.doc = "Bytes written to segments past the journal after which a checkpoint is made.", .unit = "bytes", .min = 1 << 16});
    v.field("direct_bytes_min", &S::direct_bytes_min,
            {.doc = "Appends of at least this size are written to their segment only and that is synced; smaller ones share the "
                    "journal.",
             .unit = "bytes",
             .min = 1});
    v.field(
        "round_bytes_max", &S::round_bytes_max,
        {.doc = "Bytes that one sync round takes to the journal; the rest waits for the next.", .unit = "bytes", .min = 1 << 12});
    v.field("open_files_max", &S::open_files_max,
            {.doc = "Segment files kept open; a file in use stays open beyond it.", .min = 2, .max = 1'000'000});
    v.field("index_interval_bytes", &S::index_interval_bytes,
            {.doc = "Distance between two entries of a segment's index.", .unit = "bytes", .min = 64});
    v.field("index_bytes_max", &S::index_bytes_max,
            {.doc = "Memory for the indexes of sealed segments; over it the oldest are dropped and made again when needed.",
             .unit = "bytes",
             .min = 1 << 10});
    v.field("kv_log_bytes_max", &S::kv_log_bytes_max,
            {.doc = "Size of the key-value rows' log at which a snapshot replaces it.", .unit = "bytes", .min = 1 << 10});
    v.field(
        "rows_write_buffer_bytes", &S::rows_write_buffer_bytes,
        {.doc = "Memory in which RocksDB gathers rows before it writes them to a file; it may have three of them. What a start "
                "reads again after a crash is no more.",
         .unit = "bytes",
         .min = 1 << 16});
    v.field("rows_cache_bytes", &S::rows_cache_bytes,
            {.doc = "Memory for blocks of rows read from RocksDB's files.", .unit = "bytes", .min = 1 << 16});
    v.field("rows_waiting_bytes_max", &S::rows_waiting_bytes_max,
            {.doc = "Bytes of rows that may wait on a core for their sync; more are refused.", .unit = "bytes", .min = 1 << 16});
    v.field("rows_free_bytes_min", &S::rows_free_bytes_min,
            {.doc = "Free space on the disk below which rows are refused.", .unit = "bytes", .min = 0});
  }
};

}  // namespace robustmq::storage
