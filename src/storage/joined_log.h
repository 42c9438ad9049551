// JoinedEngine: logs whose durability class is set by log and changes while they run. Made of an engine in memory and a durable
// one; lives on its core.
//
// A log is up to three parts, the oldest first, and reads join them by offset:
//   durable  a log of the durable engine
//   tail     batches in RAM on their way there (class hybrid)
//   memory   a log of the engine in memory (class memory)
//
// Class synced appends to the durable log. Class hybrid appends to the tail, acknowledges at once, and hands the tail to the
// durable log when half of the window is used up; what does not fit the window, and control batches, are acknowledged when they
// are synced. So what is acknowledged and not synced is at most the window, whatever the disk does. Where the disk is full, what
// was acknowledged stays in the tail and is tried again; appends are refused meanwhile. Class memory appends to the memory log.
//
// A change from memory copies the memory log behind the durable one, first while appends go on, the rest while they wait. The
// other changes wait until what is under way is stored. See docs/adr/0025.
//
// *Gaps.* A log of class memory or hybrid that is opened goes on at `fresh` or behind, an offset that no earlier life of the node
// can have given. What lies between is read as empty batches, made when they are asked for, and stored when something is stored
// behind them. Where limits dropped records in memory, and a durable part lies below, readers begin behind (Bounds::whole_from).
#pragma once

#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "base/anchor.h"
#include "base/describe.h"
#include "base/lazy_deque.h"
#include "runtime/core.h"
#include "runtime/timer.h"
#include "storage/log.h"

namespace robustmq::storage {

struct JoinedMetrics {
  int64_t unsynced_bytes = 0;
  uint64_t flushes_total = 0;
  uint64_t waits_total = 0;
  uint64_t retries_total = 0;
  uint64_t changes_total = 0;
  uint64_t changes_failed_total = 0;
  uint64_t copied_bytes_total = 0;

  template <class V>
  static void describe(V& v) {
    using J = JoinedMetrics;
    v.field("unsynced_bytes", &J::unsynced_bytes,
            {.doc = "Bytes of hybrid topics that are acknowledged or wait, and are not synced yet.", .unit = "bytes"});
    v.field("flushes_total", &J::flushes_total, {.doc = "Times that a hybrid partition handed what it had to the disk."});
    v.field("waits_total", &J::waits_total,
            {.doc = "Appends to hybrid topics that were acknowledged after a sync: the window was full, or they end a "
                    "transaction."});
    v.field("retries_total", &J::retries_total, {.doc = "Times that the disk had no room for what a hybrid partition had."});
    v.field("changes_total", &J::changes_total, {.doc = "Partitions that changed their mode while they ran."});
    v.field("changes_failed_total", &J::changes_failed_total, {.doc = "Partitions that could not, as on a full disk."});
    v.field("copied_bytes_total", &J::copied_bytes_total,
            {.doc = "Bytes copied from memory to the disk by such changes.", .unit = "bytes"});
  }
};

class JoinedLog;

// Outlives its logs; destroyed before the engines it is made of.
class JoinedEngine final : public Engine {
 public:
  // `fresh`: starts of the node * 2^32; the number of starts is the leader epoch of what it makes.
  JoinedEngine(runtime::Core& core, Engine& memory, Engine& durable, Offset fresh);

  EngineTraits traits() const override { return {"joined", durable_.traits().is_durable}; }
  // Opens the log in the class of its settings. It goes on at `first_offset` or behind, also one that is there and ends before.
  void open(ShardId id, const LogSettings& settings, Offset first_offset, Callback<void(Result<OpenedLog>)> done) override;
  std::vector<ShardId> list() const override { return {durable_ids_.begin(), durable_ids_.end()}; }
  void remove(ShardId id, Callback<void(Status)> done) override;
  const JoinedMetrics& metrics() const { return metrics_; }

 private:
  friend class JoinedLog;
  void finish_opening(ShardId id, const LogSettings& settings, Offset floor, std::unique_ptr<OpenedLog> opened,
                      Callback<void(Result<OpenedLog>)> done);
  std::unique_ptr<Log> make_memory(ShardId id, const LogSettings& settings, Offset first);

  runtime::Core& core_;
  Engine& memory_;
  Engine& durable_;
  Offset fresh_;
  std::set<ShardId> durable_ids_;
  JoinedMetrics metrics_;
  AnchorOwner<JoinedEngine> anchor_;
};

class JoinedLog final : public Log {
 public:
  // `durable`, `memory`: nullptr where the class has none. `floor`: the log goes on there at the least.
  JoinedLog(JoinedEngine& engine, ShardId id, const LogSettings& settings, std::unique_ptr<Log> durable,
            std::unique_ptr<Log> memory, Offset floor);
  ~JoinedLog() override;

  void append(std::vector<Bytes> batches, Callback<void(Status)> done) override;
  void append_behind(std::vector<Bytes> batches, Callback<void(Status)> done) override;
  bool append_now(const Bytes& batch) override;
  void read(Offset from, ReadLimits limits, Callback<void(Result<ReadResult>)> done) override;
  void find(FindWhat what, Callback<void(Result<std::optional<Found>>)> done) override;
  void trim(Offset keep_from, Callback<void(Status)> done) override;
  void truncate(Offset keep_until, Callback<void(Status)> done) override;
  void seal(Bytes replica_state, Offset as_of, Callback<void(Status)> done) override;
  Bounds bounds() const override;
  void retain(WallTime now, Offset keep_from) override;
  void configure(const LogSettings& settings) override;
  void list_parts(Callback<void(std::vector<SealedPart>)> done) override;
  void rewrite(Offset from, Offset until, Callback<void(Result<std::unique_ptr<Rewrite>>)> done) override;
  bool has_failed() const override { return class_ != Durability::memory && durable_->has_failed(); }
  void change(Durability to, Callback<void(Status)> done) override;
  void flush(Callback<void(Status)> done) override;

 private:
  class Changing;
  // A batch of the tail.
  struct Unsynced {
    Bytes batch;
    Instant since;
    bool is_behind = false;
    bool is_acknowledged = false;
    Callback<void(Status)> done;  // where it is the last of an append that waits
  };
  struct Gated {
    std::vector<Bytes> batches;
    bool is_behind = false;
    Callback<void(Status)> done;
  };
  struct Awaited {
    Offset until = 0;
    Callback<void(Status)> done;
  };

  void submit(std::vector<Bytes> batches, bool is_behind, Callback<void(Status)> done);
  void submit_now(std::vector<Bytes> batches, bool is_behind, Callback<void(Status)> done);  // past the gate
  void append_durable(std::vector<Bytes> batches, bool is_behind, Callback<void(Status)> done);
  void append_hybrid(std::vector<Bytes> batches, bool is_behind, Callback<void(Status)> done);
  bool fits_window(uint64_t bytes, uint64_t records, Instant oldest) const;
  void add_to_tail(Bytes batch, bool is_behind, bool is_acknowledged);
  void drop_tail_end(size_t count);
  void flush_if_due();
  void start_flush();
  void on_flushed(size_t count, const Status& status);
  void fail_waiting(Code code);
  void await_flushed(Offset until, Callback<void(Status)> done);
  void begin_memory(Offset first);
  void forget_tail();
  void end_change(Durability to, const Status& status);
  void open_gate();
  // The end but for what waits at the gate.
  Offset settled_end() const;
  Offset tail_begin() const;
  // Empty batches for [from, until).
  std::vector<Bytes> filling_of(Offset from, Offset until) const;
  // Appends them to the durable log, each by itself: a segment does not hold more. What is appended behind fails where they do.
  void fill_durable(Offset from, Offset until);
  ReadResult read_gap(Offset from, Offset until, const ReadLimits& limits) const;
  ReadResult read_tail(Offset from, const ReadLimits& limits) const;
  bool has_hole() const;
  void retain_durable(WallTime now, Offset keep_from);

  JoinedEngine& engine_;
  ShardId id_;
  LogSettings settings_;
  Durability class_;
  std::unique_ptr<Log> durable_;
  std::unique_ptr<Log> memory_;
  Offset memory_begin_ = 0;  // where the memory log began
  Offset floor_ = 0;
  Offset whole_from_ = 0;

  LazyDeque<Unsynced> tail_;
  uint64_t tail_bytes_ = 0;
  uint64_t tail_records_ = 0;
  size_t waiting_in_tail_ = 0;  // batches at its end that are not acknowledged
  Offset flushed_ = 0;          // the durable log's end, of what is synced; of class hybrid
  bool is_flushing_ = false;
  bool is_full_ = false;  // the disk had no room
  std::vector<Awaited> awaited_;
  runtime::Timer flush_timer_;

  bool is_changing_ = false;
  bool is_copying_ = false;
  bool is_gated_ = false;
  LazyDeque<Gated> gated_;
  Offset gated_end_ = 0;
  Callback<void(Status)> change_done_;
  runtime::Timer pause_timer_;
  Callback<void()> pause_over_;
  int64_t durable_max_timestamp_ = INT64_MIN;  // of a durable part below a memory log; INT64_MIN: not known
  bool is_asking_timestamp_ = false;
  AnchorOwner<JoinedLog> anchor_;
};

}  // namespace robustmq::storage
