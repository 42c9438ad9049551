// RocksKv: the key-value rows (storage/kv.h) in RocksDB, for rows that are too many to be held in memory.
//
// One database a node, one RocksKv a core; all of them share it, and what one core wrote another may read. What a core's turns
// bring while a write is under way becomes the next write: one RocksDB batch and one sync. RocksDB joins the writes of several
// cores into one sync. Calls that may block run on the core's two helpers, one for writes and one for reads, never on the core.
//
// Before each write the free space of the disk is looked at: below StorageOptions::rows_free_bytes_min it is refused with
// storage_full, so that RocksDB's own files find room; batches that only remove are taken from that room, or nothing could make
// more. A write that finds no space is refused the same way. Any other error of one is final for the node until the next start.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/anchor.h"
#include "base/describe.h"
#include "runtime/core.h"
#include "runtime/helper.h"
#include "storage/kv.h"
#include "storage/options.h"

namespace robustmq::storage {

// Counted per core.
struct RowsMetrics {
  uint64_t batches_written_total = 0;
  uint64_t bytes_written_total = 0;
  uint64_t syncs_total = 0;
  uint64_t reads_total = 0;
  uint64_t refused_total = 0;
  int64_t waiting_bytes = 0;

  template <class V>
  static void describe(V& v) {
    using M = RowsMetrics;
    v.field("batches_written_total", &M::batches_written_total, {.doc = "Batches of rows written."});
    v.field("bytes_written_total", &M::bytes_written_total, {.doc = "Their bytes.", .unit = "bytes"});
    v.field("syncs_total", &M::syncs_total, {.doc = "Writes to the database, each synced; several batches share one."});
    v.field("reads_total", &M::reads_total, {.doc = "Reads of rows."});
    v.field("refused_total", &M::refused_total, {.doc = "Batches refused: too many waited, the disk is full, or it failed."});
    v.field("waiting_bytes", &M::waiting_bytes, {.doc = "Bytes of batches that wait for their sync.", .unit = "bytes"});
  }
};

// The database itself. Closed when the last share goes; a share may go on any thread.
class RocksRows;
using RocksRowsPtr = std::shared_ptr<RocksRows>;

// Opens the database in `folder` (a path of the operating system; made when missing) on `helper`, with recovery of what was
// synced. `unsafe_skip_sync`: for tests. Errors: corrupt_storage, storage_failed.
void open_rocks_rows(runtime::Helper& helper, std::string folder, const StorageOptions& options, bool unsafe_skip_sync,
                     Callback<void(Result<RocksRowsPtr>)> done);

// Lives on its core. Destroyed earlier, writes under way are done or not, and not called back.
class RocksKv final : public Kv, private runtime::Deferred {
 public:
  RocksKv(runtime::Core& core, RocksRowsPtr rows, std::unique_ptr<runtime::Helper> writes, std::unique_ptr<runtime::Helper> reads,
          const StorageOptions& options);
  ~RocksKv() override;

  void write(KvBatch batch, Callback<void(Status)> done) override;
  void get(std::string_view key, Callback<void(Result<std::string>)> done) const override;
  void scan(std::string_view from, std::string_view to, size_t rows_max, Callback<void(Result<KvRows>)> done) const override;
  void last(std::string_view from, std::string_view to, Callback<void(Result<KvRows>)> done) const override;

  const RowsMetrics& metrics() const { return metrics_; }

 private:
  struct Writing;
  void run_deferred() override;
  void finish(Writing& written);
  template <class T, class Read>
  void read(Read work, Callback<void(Result<T>)> done) const;

  runtime::Core& core_;
  RocksRowsPtr rows_;
  std::unique_ptr<runtime::Helper> writes_;
  std::unique_ptr<runtime::Helper> reads_;
  int64_t waiting_bytes_max_;
  mutable RowsMetrics metrics_;
  std::shared_ptr<Writing> next_;  // what waits for the write under way, or for the end of the turn
  bool is_writing_ = false;
  mutable AnchorOwner<const RocksKv> anchor_;
};

}  // namespace robustmq::storage
