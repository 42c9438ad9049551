// Shard: one partition's ordered log with its home core. This version has one replica: this node.
//
// Offsets are given here; an append completes when it has its topic's durability class, and only then is it committed:
// no reader sees a record at or past the high watermark. Idempotent producers are checked here (the last 5 batches each).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/batch.h"
#include "base/bytes.h"
#include "base/callback.h"
#include "base/intrusive.h"
#include "base/result.h"
#include "runtime/core.h"
#include "storage/log.h"

namespace robustmq::shard {

struct Appended {
  Offset base_offset = -1;     // of the batch; for a repeated batch, of the first time
  int64_t append_time_ms = -1;  // set when the shard stamps records
  Offset log_start = 0;
  bool is_repeat = false;      // an idempotent producer's batch that was stored before
};

struct Fetched {
  Pieces pieces;
  Offset next = 0;
  Offset high_watermark = 0;
  Offset log_start = 0;
};

struct ShardBounds {
  Offset log_start = 0;
  Offset high_watermark = 0;
  Offset log_end = 0;
  LeaderEpoch leader_epoch = 0;
  uint64_t size_bytes = 0;
};

struct TimedOffset {
  Offset offset = -1;           // -1: no record qualifies
  int64_t timestamp_ms = -1;
  LeaderEpoch leader_epoch = -1;
};

// Wakes its owner once when the shard's high watermark passes what it had (or the shard goes away). One-shot; intrusive.
class Watcher : public ListHook<Watcher> {
 public:
  virtual void on_shard_moved() = 0;

 protected:
  ~Watcher() = default;
};

// Sees every committed batch, in order, on the home core. Set by the broker for live fan-out.
class CommitListener {
 public:
  virtual void on_committed(const ShardId& shard, const Bytes& batch) = 0;

 protected:
  ~CommitListener() = default;
};

struct ShardSettings {
  bool log_append_time = false;
  int32_t batch_bytes_max = 1'048'588;
  storage::LogSettings log;
};

// Lives on its home core. Completions come on it, possibly inline.
class Shard {
 public:
  // `opened`: from the engine. `epoch`: larger than any before for a log that may have lost records. Call recover() first.
  Shard(runtime::Core& core, ShardId id, storage::OpenedLog opened, LeaderEpoch epoch, const ShardSettings& settings);
  ~Shard();  // wakes its watchers; fails waiting appends with shutting_down

  // Rebuilds producer state from the log behind the last seal. Must complete before anything else.
  void recover(Callback<void(Status)> done);

  // Appends one batch of a client. The batch's own CRC was verified (BatchView::crc_is_right); offsets and epoch are set here.
  // `listener` told at commit is the one of set_commit_listener. Appends take effect in call order.
  // Errors: too_large, out_of_order_sequence, duplicate_sequence, fenced_producer, storage_full, storage_failed.
  void append(Bytes batch, Callback<void(Result<Appended>)> done);

  // Reads committed batches. Never parks: the caller watches. Errors: offset_out_of_range, corrupt_storage.
  void fetch(Offset from, uint64_t bytes_max, bool first_batch_over_limit, Callback<void(Result<Fetched>)> done);
  // First record at or past the time, looked up inside the batch, also a compressed one.
  void find_by_time(int64_t timestamp_ms, Callback<void(Result<TimedOffset>)> done);
  void find_max_time(Callback<void(Result<TimedOffset>)> done);
  void trim(Offset keep_from, Callback<void(Status)> done);

  void watch(Watcher& watcher);  // woken at the next advance of the high watermark
  void set_commit_listener(CommitListener* listener) { listener_ = listener; }
  void configure(const ShardSettings& settings);
  void retain(WallTime now);

  ShardBounds bounds() const;
  const ShardId& id() const { return id_; }
  bool has_failed() const;

 private:
  struct Replica;  // pure: offsets, epoch, high watermark, producers (shard/replica.h)

  runtime::Core& core_;
  ShardId id_;
  std::unique_ptr<storage::Log> log_;
  std::unique_ptr<Replica> replica_;
  CommitListener* listener_ = nullptr;
  List<Watcher> watchers_;
};

}  // namespace robustmq::shard
