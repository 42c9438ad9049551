#include "storage/rocksdb/rocks_kv.h"

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

namespace robustmq::storage {
namespace {

constexpr size_t kBackgroundJobs = 2;
// Reads of more rows are walks over everything: they leave the cache as it is.
constexpr size_t kCachedRowsMax = 1024;
constexpr size_t kWalkReadAhead = 1 << 20;

Error error_of(const rocksdb::Status& status) {
  if (status.IsNotFound()) return {Code::not_found, {}};
  return {status.IsCorruption() ? Code::corrupt_storage : Code::storage_failed, "rows: " + status.ToString()};
}

rocksdb::Slice slice_of(std::string_view text) { return {text.data(), text.size()}; }

void add_to(rocksdb::WriteBatch& to, const KvBatch& batch) {
  for (const auto& change : batch.changes) {
    if (const auto* put = std::get_if<KvBatch::Put>(&change)) {
      to.Put(put->key, put->value);
    } else if (const auto* remove = std::get_if<KvBatch::Delete>(&change)) {
      to.Delete(remove->key);
    } else {
      const auto& range = std::get<KvBatch::DeleteRange>(change);
      if (range.from < range.to) to.DeleteRange(range.from, range.to);
    }
  }
}

rocksdb::Options options_of(const StorageOptions& options) {
  rocksdb::Options to;
  to.create_if_missing = true;
  to.paranoid_checks = true;
  // What a power cut left of the last writes is cut off; everything synced before it is whole.
  to.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  to.write_buffer_size = static_cast<size_t>(options.rows_write_buffer_bytes);
  to.max_write_buffer_number = 3;
  to.max_background_jobs = kBackgroundJobs;
  to.bytes_per_sync = 1 << 20;
  to.compression = rocksdb::kLZ4Compression;
  // The levels that are soon written again are not packed.
  to.compression_per_level = {rocksdb::kNoCompression, rocksdb::kNoCompression, rocksdb::kLZ4Compression};
  to.level_compaction_dynamic_level_bytes = false;
  // Small buffers, since a start after a crash reads them again, and few merges for that.
  to.level0_file_num_compaction_trigger = 8;
  to.level0_slowdown_writes_trigger = 32;
  to.level0_stop_writes_trigger = 48;
  to.max_bytes_for_level_base = 16 * to.write_buffer_size;
  to.target_file_size_base = 2 * to.write_buffer_size;
  to.max_open_files = 512;
  to.skip_stats_update_on_db_open = true;
  to.stats_dump_period_sec = 0;
  to.stats_persist_period_sec = 0;
  to.info_log_level = rocksdb::WARN_LEVEL;
  to.keep_log_file_num = 2;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(static_cast<size_t>(options.rows_cache_bytes));
  table.block_size = 8 << 10;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.cache_index_and_filter_blocks = true;
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  table.format_version = 5;
  to.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return to;
}

}  // namespace

class RocksRows {
 public:
  static Result<RocksRowsPtr> open(const std::string& folder, const StorageOptions& options, bool unsafe_skip_sync) {
    auto rows = std::make_shared<RocksRows>();
    rows->folder_ = folder;
    rows->free_bytes_min_ = static_cast<uint64_t>(options.rows_free_bytes_min);
    rows->skips_sync_ = unsafe_skip_sync;
    rocksdb::DB* db = nullptr;
    const rocksdb::Status status = rocksdb::DB::Open(options_of(options), folder, &db);
    if (!status.ok()) return error_of(status);
    rows->db_.reset(db);
    return rows;
  }

  // Blocks. Any thread.
  Status write(rocksdb::WriteBatch& batch) {
    if (has_failed_.load(std::memory_order_acquire)) return Error{Code::storage_failed, "rows: an earlier write failed"};
    if (batch.Count() == 0) return {};
    if (is_stopped_.load(std::memory_order_acquire)) {
      if (const Status resumed = resume(); !resumed.ok()) return resumed;
    }
    rocksdb::WriteOptions how;
    how.sync = !skips_sync_;
    const rocksdb::Status status = db_->Write(how, &batch);
    if (status.ok()) return {};
    // Nothing of it is in the rows; the database goes on in a new log, so that what is in the old one never is.
    if (status.IsNoSpace()) {
      is_stopped_.store(true, std::memory_order_release);
      return Code::storage_full;
    }
    return fail(status);
  }
  // Blocks. Less is free than is kept for the database's own files.
  bool is_full() const {
    uint64_t free_bytes = 0;
    return db_->GetEnv()->GetFreeSpace(folder_, &free_bytes).ok() && free_bytes < free_bytes_min_;
  }

  Result<std::string> get(const std::string& key) const {
    std::string value;
    const rocksdb::Status status = db_->Get({}, key, &value);
    if (!status.ok()) return error_of(status);
    return value;
  }

  Result<KvRows> scan(const std::string& from, const std::string& to, size_t rows_max) const {
    const rocksdb::Slice end = slice_of(to);
    rocksdb::ReadOptions how;
    how.iterate_upper_bound = &end;
    if (rows_max > kCachedRowsMax) {
      how.fill_cache = false;
      how.readahead_size = kWalkReadAhead;
    }
    KvRows rows;
    const std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator(how));
    for (at->Seek(from); at->Valid() && rows.size() < rows_max; at->Next())
      rows.emplace_back(at->key().ToString(), at->value().ToString());
    if (!at->status().ok()) return error_of(at->status());
    return rows;
  }

  Result<KvRows> last(const std::string& from, const std::string& to) const {
    const rocksdb::Slice begin = slice_of(from);
    const rocksdb::Slice end = slice_of(to);
    rocksdb::ReadOptions how;
    how.iterate_lower_bound = &begin;
    how.iterate_upper_bound = &end;
    KvRows rows;
    const std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator(how));
    at->SeekToLast();
    if (at->Valid()) rows.emplace_back(at->key().ToString(), at->value().ToString());
    if (!at->status().ok()) return error_of(at->status());
    return rows;
  }

 private:
  // After a write that found no space.
  Status resume() {
    const rocksdb::Status status = db_->Resume();
    if (status.IsNoSpace() || status.IsBusy()) return Code::storage_full;
    if (!status.ok()) return fail(status);
    is_stopped_.store(false, std::memory_order_release);
    return {};
  }
  Status fail(const rocksdb::Status& status) {
    has_failed_.store(true, std::memory_order_release);
    return Error{Code::storage_failed, error_of(status).detail};
  }

  std::string folder_;
  uint64_t free_bytes_min_ = 0;
  bool skips_sync_ = false;
  std::atomic<bool> has_failed_{false};
  std::atomic<bool> is_stopped_{false};  // for want of space
  std::unique_ptr<rocksdb::DB> db_;
};

void open_rocks_rows(runtime::Helper& helper, std::string folder, const StorageOptions& options, bool unsafe_skip_sync,
                     Callback<void(Result<RocksRowsPtr>)> done) {
  auto opened = std::make_shared<Result<RocksRowsPtr>>(Code::internal);
  helper.run([opened, folder = std::move(folder), options,
              unsafe_skip_sync] { *opened = RocksRows::open(folder, options, unsafe_skip_sync); },
             [opened, done = std::move(done)]() mutable { done(std::move(*opened)); });
}

// Batches that become one write.
struct RocksKv::Writing {
  struct Waiter {
    Callback<void(Status)> done;
    bool is_refused;  // nothing of it is in the batch; told in its turn all the same
    bool makes_space = false;
  };
  rocksdb::WriteBatch batch;
  rocksdb::WriteBatch deletions;  // what of it makes space: taken also from a full disk
  std::vector<Waiter> waiting;
  int64_t bytes = 0;
  Status status;
  Status status_of_deletions;
};

RocksKv::RocksKv(runtime::Core& core, RocksRowsPtr rows, std::unique_ptr<runtime::Helper> writes,
                 std::unique_ptr<runtime::Helper> reads, const StorageOptions& options)
    : core_(core),
      rows_(std::move(rows)),
      writes_(std::move(writes)),
      reads_(std::move(reads)),
      waiting_bytes_max_(options.rows_waiting_bytes_max) {}

RocksKv::~RocksKv() { anchor_.cut(); }

void RocksKv::write(KvBatch batch, Callback<void(Status)> done) {
  if (!next_) next_ = std::make_shared<Writing>();
  if (metrics_.waiting_bytes >= waiting_bytes_max_) {
    next_->waiting.push_back({std::move(done), true});
    if (!is_writing_) core_.defer(*this);
    return;
  }
  const size_t before = next_->batch.GetDataSize();
  add_to(next_->batch, batch);
  const bool makes_space = std::none_of(batch.changes.begin(), batch.changes.end(),
                                        [](const auto& change) { return std::holds_alternative<KvBatch::Put>(change); });
  if (makes_space) add_to(next_->deletions, batch);
  const auto bytes = static_cast<int64_t>(next_->batch.GetDataSize() - before);
  next_->bytes += bytes;
  metrics_.waiting_bytes += bytes;
  next_->waiting.push_back({std::move(done), false, makes_space});
  if (!is_writing_) core_.defer(*this);
}

void RocksKv::run_deferred() {
  if (is_writing_ || !next_) return;
  is_writing_ = true;
  ++metrics_.syncs_total;
  const std::shared_ptr<Writing> writing = std::exchange(next_, nullptr);
  const auto write = [rows = rows_, writing] {
    writing->status = rows->is_full() ? Status(Code::storage_full) : rows->write(writing->batch);
    writing->status_of_deletions =
        writing->status.code() == Code::storage_full ? rows->write(writing->deletions) : writing->status;
  };
  writes_->run(write, [self = anchor_.anchor(this), writing] {
    if (const RocksKv* kv = self.get()) const_cast<RocksKv*>(kv)->finish(*writing);
  });
}

void RocksKv::finish(Writing& written) {
  is_writing_ = false;
  metrics_.waiting_bytes -= written.bytes;
  if (written.status.ok()) metrics_.bytes_written_total += static_cast<uint64_t>(written.bytes);
  const auto status_of = [&](const Writing::Waiter& waiter) {
    return waiter.makes_space ? written.status_of_deletions : written.status;
  };
  for (const Writing::Waiter& waiter : written.waiting)
    ++(status_of(waiter).ok() && !waiter.is_refused ? metrics_.batches_written_total : metrics_.refused_total);
  if (next_) core_.defer(*this);
  const Anchor<const RocksKv> self = anchor_.anchor(this);
  const Error refused{Code::overloaded, "rows wait for the disk"};
  for (Writing::Waiter& waiter : written.waiting) {
    if (!self.get()) return;
    waiter.done(waiter.is_refused && written.status.ok() ? Status(refused) : status_of(waiter));
  }
}

template <class T, class Read>
void RocksKv::read(Read work, Callback<void(Result<T>)> done) const {
  ++metrics_.reads_total;
  auto result = std::make_shared<Result<T>>(Code::internal);
  reads_->run([rows = rows_, work = std::move(work), result] { *result = work(*rows); },
              [self = anchor_.anchor(this), result, done = std::move(done)]() mutable {
                if (self.get()) done(std::move(*result));
              });
}

void RocksKv::get(std::string_view key, Callback<void(Result<std::string>)> done) const {
  read<std::string>([key = std::string(key)](const RocksRows& rows) { return rows.get(key); }, std::move(done));
}

void RocksKv::scan(std::string_view from, std::string_view to, size_t rows_max, Callback<void(Result<KvRows>)> done) const {
  read<KvRows>(
      [from = std::string(from), to = std::string(to), rows_max](const RocksRows& rows) { return rows.scan(from, to, rows_max); },
      std::move(done));
}

void RocksKv::last(std::string_view from, std::string_view to, Callback<void(Result<KvRows>)> done) const {
  read<KvRows>([from = std::string(from), to = std::string(to)](const RocksRows& rows) { return rows.last(from, to); },
               std::move(done));
}

}  // namespace robustmq::storage
