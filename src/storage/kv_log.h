// KvLog: the key-value rows (storage/kv.h) as a log and a snapshot.
//
// The rows are an ordered map in memory. Each KvBatch is one record batch of a reserved log (kKvLogId) of a durable engine, so it
// shares the journal's sync rounds with everything else. When that log has grown past a limit, a snapshot file is written
// ("kv/snapshot.new", synced, renamed to "kv/snapshot"; the one before stays as "kv/snapshot.old") and the log is trimmed to
// what the older snapshot covers: a damaged snapshot costs nothing as long as the one before it is whole.
//
// Value of a record: changes one after the other: kind (1: put, 2: delete, 3: delete range), then each string as varint length
// and bytes. Snapshot file (little-endian): magic "RMQK" (4), format version (4), CRC-32C of the rest (4), as-of offset (8),
// row count (8), rows as varint-prefixed strings.
#pragma once

#include <map>
#include <memory>

#include "runtime/core.h"
#include "runtime/disk.h"
#include "storage/kv.h"
#include "storage/log.h"
#include "storage/options.h"

namespace robustmq::storage {

// The reserved log of the rows. Everyone else who lists an engine's logs passes over it.
extern const ShardId kKvLogId;

// Lives on the engine's core. Destroyed before the engine; writes under way are then neither done nor called back.
class KvLog final : public Kv {
 public:
  // Reads snapshot and log. Errors: corrupt_storage (no usable snapshot, or a damaged row log), storage_failed.
  static void open(runtime::Core& core, Engine& engine, const StorageOptions& options,
                   Callback<void(Result<std::unique_ptr<KvLog>>)> done);
  ~KvLog() override;

  void write(KvBatch batch, Callback<void(Status)> done) override;
  void get(std::string_view key, Callback<void(Result<std::string>)> done) const override;
  void scan(std::string_view from, std::string_view to, size_t rows_max, Callback<void(Result<KvRows>)> done) const override;
  void last(std::string_view from, std::string_view to, Callback<void(Result<KvRows>)> done) const override;

  // What open() found damaged and went around; empty when nothing.
  const std::string& report() const { return report_; }
  size_t row_count() const { return rows_.size(); }
  uint64_t snapshot_count() const { return snapshots_; }

 private:
  class Opening;
  class Snapshotting;
  KvLog(runtime::Core& core, const StorageOptions& options);
  bool apply(ByteSpan changes);
  bool apply_batch(ByteSpan batch);
  Bytes encode_snapshot() const;
  Status load_snapshot(ByteSpan bytes);
  void start_snapshot();

  runtime::Core& core_;
  int64_t log_bytes_max_;
  std::unique_ptr<Log> log_;
  std::map<std::string, std::string, std::less<>> rows_;
  Offset applied_ = 0;         // rows_ holds everything below
  Offset snapshot_as_of_ = 0;  // of kv/snapshot
  uint64_t snapshot_base_bytes_ = 0;
  bool has_snapshot_ = false;
  bool is_snapshotting_ = false;
  uint64_t snapshots_ = 0;
  std::string report_;
  std::shared_ptr<void> snapshotting_;
};

}  // namespace robustmq::storage
