// Shard: one partition's ordered log with its home core. This version has one replica: this node.
//
// Offsets are given here; an append completes when it has its topic's durability class, and only then is it committed:
// no reader sees a record at or past the high watermark. Idempotent producers are checked here (the last 5 batches each).
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "base/anchor.h"
#include "base/batch.h"
#include "base/bytes.h"
#include "base/callback.h"
#include "base/intrusive.h"
#include "base/result.h"
#include "runtime/core.h"
#include "shard/compaction.h"
#include "shard/replica.h"
#include "storage/log.h"

namespace robustmq::shard {

struct Appended {
  Offset base_offset = -1;      // of the batch; for a repeated batch, of the first time
  int64_t append_time_ms = -1;  // set when the shard stamps records
  Offset log_start = 0;
  bool is_repeat = false;  // an idempotent producer's batch that was stored before
};

struct Fetched {
  Pieces pieces;
  Offset next = 0;
  Offset high_watermark = 0;
  Offset log_start = 0;
  Offset last_stable = 0;
  std::vector<AbortedRange> aborted;  // of what was read; when it is read up to the last stable offset
};

struct ShardBounds {
  Offset log_start = 0;
  Offset high_watermark = 0;
  Offset last_stable = 0;  // below it every transaction has ended
  Offset log_end = 0;
  LeaderEpoch leader_epoch = 0;
  uint64_t size_bytes = 0;
};

struct TimedOffset {
  Offset offset = -1;  // -1: no record qualifies
  int64_t timestamp_ms = -1;
  LeaderEpoch leader_epoch = -1;
};

struct WatcherTag;

// Wakes its owner once when the shard's high watermark passes what it had, when an append fails, or when the shard goes away: it
// looks what is so. One-shot; intrusive.
class Watcher : public ListHook<WatcherTag> {
 public:
  virtual void on_shard_moved() = 0;

 protected:
  ~Watcher() = default;
};

// Sees every committed batch, in order, on the home core. Set by the broker for live fan-out.
class CommitListener {
 public:
  // `origin` is what append() was given.
  virtual void on_committed(const ShardId& shard, const Bytes& batch, uint64_t origin) = 0;
  // The batch has its offsets and goes to the log now, where that does not complete at once; on_committed or on_failed follows.
  // True: it is stored only if what was appended before is, in here too, to logs that lead (storage/log.h).
  virtual bool on_appending(const ShardId& shard, const Bytes& batch, uint64_t origin) {
    return (void)shard, (void)batch, (void)origin, false;
  }
  virtual void on_failed(const ShardId& shard, Offset base_offset) { (void)shard, (void)base_offset; }
  // Nothing at or past it is dropped, whatever the retention or trim() says; asked each time.
  virtual Offset kept_from(const ShardId& shard) { return (void)shard, INT64_MAX; }

 protected:
  ~CommitListener() = default;
};

struct ShardSettings {
  bool log_append_time = false;
  int32_t batch_bytes_max = 1'048'588;
  storage::LogSettings log;
};

// Lives on its home core. Completions come on it, possibly inline; a completion may destroy the shard.
//
// Appends are pipelined: each gets its offset at once, goes to the log, and is committed when the log says so, in order. When
// the disk is full, the appends under way fail with the first one, and the offsets they had are given again.
class Shard final : private runtime::Deferred {
 public:
  // `opened`: from the engine. `epoch`: larger than any before for a log that may have lost records. Call recover() first.
  Shard(runtime::Core& core, ShardId id, storage::OpenedLog opened, LeaderEpoch epoch, const ShardSettings& settings);
  ~Shard();  // ends it
  // Lets its log go, wakes its watchers, fails waiting appends and readings with shutting_down; nothing may be asked afterwards.
  void end();

  // Rebuilds producer state from the log behind the last seal. Must complete before anything else.
  void recover(Callback<void(Status)> done);

  // Appends one batch of a client. The batch's shape and own CRC were verified (BatchView); offsets and epoch are set here, in
  // place. The commit listener is told before `done`, and given `origin` (the publisher's connection; 0: none). Appends take
  // effect in call order.
  // Errors: too_large, out_of_order_sequence, fenced_producer, storage_full, storage_failed, shutting_down.
  void append(Bytes batch, uint64_t origin, Callback<void(Result<Appended>)> done);
  void append(Bytes batch, Callback<void(Result<Appended>)> done) { append(std::move(batch), 0, std::move(done)); }

  // Appends the marker that ends the producer's transaction here, and fences its older epochs; does nothing where it ended in
  // that epoch before. Errors: fenced_producer, storage_*, shutting_down.
  void end_transaction(const Marker& marker, Callback<void(Status)> done);
  // The first offset of the producer's open transaction.
  std::optional<Offset> open_since(ProducerId producer) const { return replica_.open_since(producer); }
  bool knows_producer(ProducerId producer) const { return replica_.knows_producer(producer); }
  // Gives every batch in [from, until) to `each`; a status that is not ok ends it.
  void read_batches(Offset from, Offset until, Callback<Status(ByteSpan)> each, Callback<void(Status)> done);

  // Reads committed batches; with `until_stable` only those below the last stable offset. Never parks: the caller watches.
  // Errors: offset_out_of_range, corrupt_storage.
  void fetch(Offset from, uint64_t bytes_max, bool first_batch_over_limit, Callback<void(Result<Fetched>)> done) {
    fetch(from, bytes_max, first_batch_over_limit, false, std::move(done));
  }
  void fetch(Offset from, uint64_t bytes_max, bool first_batch_over_limit, bool until_stable,
             Callback<void(Result<Fetched>)> done);
  // First record at or past the time, looked up inside the batch, also a compressed one. Errors: corrupt_storage.
  void find_by_time(int64_t timestamp_ms, Callback<void(Result<TimedOffset>)> done);
  void find_max_time(Callback<void(Result<TimedOffset>)> done);
  Replica::EpochEnd end_of_epoch(LeaderEpoch epoch) const { return replica_.end_of_epoch(epoch); }
  // Whether a committed record has that offset of that epoch, or had it before a trim.
  bool had(Offset offset, LeaderEpoch epoch) const {
    const Replica::EpochEnd end = end_of_epoch(epoch);
    return end.epoch == epoch && offset < end.end;
  }
  // The epoch that gave the offset, which is committed.
  LeaderEpoch epoch_at(Offset offset) const { return replica_.epoch_at(offset); }
  std::vector<ProducerFacts> producers() const { return replica_.producer_facts(); }
  // The same of what the listener keeps below the start, too.
  void fetch_kept(Offset from, uint64_t bytes_max, bool first_batch_over_limit, Callback<void(Result<Fetched>)> done);
  // Drops what lies wholly below `keep_from`. What the listener keeps of it stays in the log until that is over, for fetch_kept()
  // alone: the start moves at once, and durably. Error: offset_out_of_range when it is past the high watermark.
  void trim(Offset keep_from, Callback<void(Status)> done);
  // Keeps the producers' state in the log now (else every kSealEveryBytes), so that the next recover() reads little.
  void seal(Callback<void(Status)> done);
  // Compaction. Nothing at or past the last stable offset, or that the listener keeps, or of the part that is written to, is
  // touched. Errors: already_exists (one is under way), not_attempted (the log changed meanwhile, try again), too_large (a batch
  // has more keys than the memory), corrupt_storage, storage_*, shutting_down.
  void compact(const CompactionSettings& settings, Callback<void(Result<Compacted>)> done);
  void measure_dirt(int64_t min_lag_ms, Callback<void(CompactionDirt)> done);
  // Changes the durability class of what is readable and of what is appended from then on (Log::change). A transaction that is
  // open keeps the stronger class until it has ended, so that its marker is not in the weaker one: `done` does not wait for that.
  // Errors: storage_full, storage_failed, shutting_down; then the class is as it was.
  void change(storage::Durability to, Callback<void(Status)> done);
  // When what was acknowledged is as durable as it will be.
  void flush(Callback<void(Status)> done) { log_->flush(std::move(done)); }
  // Whether there is anything that a seal would keep.
  bool wants_seal() const { return unsealed_bytes_ > 0 && !is_sealing_ && !has_failed(); }

  void watch(Watcher& watcher);  // woken at the end of the turn in which the high watermark next advances, or an append fails
  void set_commit_listener(CommitListener* listener) { listener_ = listener; }
  void configure(const ShardSettings& settings);
  void retain(WallTime now);

  ShardBounds bounds() const;
  const ShardId& id() const { return id_; }
  bool has_failed() const { return has_failed_ || log_->has_failed(); }
  // Nothing is under way and nobody waits: it may be closed.
  bool is_idle() const {
    return in_log_ == 0 && !first_waiting_ && !inline_ && !is_sealing_ && watchers_.empty() && !asked_ &&
           !(compaction_ && compaction_->running);
  }

  static constexpr uint64_t kSealEveryBytes = 16 << 20;  // appended between two seals: what recover() reads at most, about

 private:
  // An append that the log has and has not completed. Also a repeat that waits for its first time to be committed.
  struct Waiting {
    Bytes batch;  // this and origin for the commit listener
    uint64_t origin = 0;
    Callback<void(Result<Appended>)> done;
    Offset base_offset = -1;
    Offset next_offset = -1;
    int64_t append_time_ms = -1;
    bool is_repeat = false;
    std::unique_ptr<Waiting> behind;
  };

  void run_deferred() override { wake(); }
  void wake();
  Offset start() const {
    const storage::Bounds bounds = log_->bounds();
    return std::max({bounds.start, bounds.whole_from, replica_.start()});
  }
  void begin_change();
  void on_changed(const Status& status);
  void abort_open_transactions();
  void read(Offset from, Offset start, uint64_t bytes_max, bool first_batch_over_limit, bool until_stable,
            Callback<void(Result<Fetched>)> done);
  class Compacting;
  // Up to where compaction may look.
  Offset compaction_limit(const std::vector<storage::SealedPart>& parts, int64_t min_lag_ms) const;
  void keep_start(Callback<void(Status)> done);
  void on_sealed(Offset start, Offset clean, const Status& status, Callback<void(Status)>& done);
  void append_assigned(Bytes batch, uint64_t origin, const Replica::Assigned& assigned, WallTime now,
                       Callback<void(Result<Appended>)> done);
  void enqueue(Waiting&& waiting);
  std::unique_ptr<Waiting> dequeue();
  void on_log_done(Status status);
  void settle(Waiting& waiting, const Status& status);
  void find(storage::FindWhat what, Callback<void(Result<TimedOffset>)> done);

  runtime::Core& core_;
  ShardId id_;
  bool log_append_time_;
  bool has_failed_ = false;
  bool is_sealing_ = false;
  bool is_volatile_ = false;  // as opened
  Code failure_ = Code::ok;   // of the appends under way: set with the first that failed, until the last of them is done
  int32_t batch_bytes_max_;
  std::unique_ptr<storage::Log> log_;
  Replica replica_;
  CommitListener* listener_ = nullptr;
  List<Watcher, WatcherTag> watchers_;
  AnchorOwner<Shard> anchor_;
  std::unique_ptr<Waiting> first_waiting_;
  Waiting* last_waiting_ = nullptr;
  uint32_t in_log_ = 0;        // appends that the log has and has not completed
  Waiting* inline_ = nullptr;  // the append whose Log::append has not returned yet; behind all in the list
  uint64_t unsealed_bytes_ = 0;
  // Starts that wait for the seal that keeps them.
  struct WaitingStart {
    Offset start = 0;
    Callback<void(Status)> done;
  };
  std::unique_ptr<std::vector<WaitingStart>> waiting_starts_;  // nullptr: none
  // A change of the class under way, or waiting for open transactions to end.
  struct Change {
    storage::Durability to;
    bool has_begun = false;
    std::vector<Callback<void(Status)>> done;
  };
  // Of read_batches and change; nullptr: none is under way.
  struct Asked {
    std::map<uint64_t, Callback<void(Status)>> readings;
    uint64_t last_reading = 0;
    std::unique_ptr<Change> change;
  };
  Asked& asked() {
    if (!asked_) asked_ = std::make_unique<Asked>();
    return *asked_;
  }
  void forget_asked() {
    if (asked_->readings.empty() && !asked_->change) asked_.reset();
  }
  Change* changing() const { return asked_ ? asked_->change.get() : nullptr; }
  std::unique_ptr<Asked> asked_;
  struct CompactionState {
    std::shared_ptr<Compacting> running;  // nullptr: none
    Offset durable_until = 0;             // up to where it was compacted as of the newest seal
  };
  std::unique_ptr<CompactionState> compaction_;  // nullptr: never
  // Of the last seal, until recover(); nullptr when there was none.
  struct Kept {
    Bytes state;
    Offset as_of = 0;
  };
  std::unique_ptr<Kept> kept_;
};

}  // namespace robustmq::shard
