// The memory engine: logs that live in RAM, bounded by their settings and by one byte budget a core. Pure.
//
// Every batch of a core's memory logs stands in one list, oldest first (MemoryBudget). When the budget is exceeded the oldest
// batch of the core goes, whichever log it is of, and is counted. A log keeps its batches in a ring of pointers, found by
// bisection; a log without batches is the object alone.
#pragma once

#include <memory>
#include <vector>

#include "base/describe.h"
#include "base/intrusive.h"
#include "storage/log.h"

namespace robustmq::storage {

class MemoryLog;
struct MemoryBatch;

struct MemoryMetrics {
  uint64_t batches_dropped_by_budget_total = 0;
  uint64_t bytes_dropped_by_budget_total = 0;
  uint64_t batches_dropped_by_limit_total = 0;  // records_max, retention
  int64_t bytes = 0;

  template <class V>
  static void describe(V& v) {
    using S = MemoryMetrics;
    v.field("batches_dropped_by_budget_total", &S::batches_dropped_by_budget_total,
            {.doc = "Batches of memory logs dropped because the core's budget was reached."});
    v.field("bytes_dropped_by_budget_total", &S::bytes_dropped_by_budget_total, {.doc = "Their bytes.", .unit = "bytes"});
    v.field("batches_dropped_by_limit_total", &S::batches_dropped_by_limit_total,
            {.doc = "Batches of memory logs dropped by the log's own limits."});
    v.field("bytes", &S::bytes, {.doc = "Memory held by the batches of memory logs.", .unit = "bytes"});
  }
};

// The memory that the logs of one core share. Outlives them. Lives on its core.
// Invariant: metrics().bytes is the sum of the memory of the batches listed.
class MemoryBudget {
 public:
  explicit MemoryBudget(int64_t bytes_max);
  ~MemoryBudget();
  MemoryBudget(const MemoryBudget&) = delete;

  // Takes effect at the next append.
  void set_bytes_max(int64_t bytes_max) { bytes_max_ = bytes_max; }
  const MemoryMetrics& metrics() const { return metrics_; }

 private:
  friend class MemoryLog;
  // Equal settings are kept once, for as long as the budget lives.
  const LogSettings* keep(const LogSettings& settings);
  void make_room();

  int64_t bytes_max_;
  MemoryMetrics metrics_;
  List<MemoryBatch> oldest_first_;
  std::vector<std::unique_ptr<LogSettings>> settings_;
};

// One log in RAM. All completions are inline. Appends never fail. seal() keeps nothing: the log ends with the process.
class MemoryLog final : public Log {
 public:
  MemoryLog(MemoryBudget& budget, const LogSettings& settings, Offset first_offset);
  ~MemoryLog() override;
  MemoryLog(const MemoryLog&) = delete;

  void append(std::vector<Bytes> batches, Callback<void(Status)> done) override;
  bool append_now(const Bytes& batch) override;
  void read(Offset from, ReadLimits limits, Callback<void(Result<ReadResult>)> done) override;
  void find(FindWhat what, Callback<void(Result<std::optional<Found>>)> done) override;
  void trim(Offset keep_from, Callback<void(Status)> done) override;
  void truncate(Offset keep_until, Callback<void(Status)> done) override;
  void seal(Bytes replica_state, Offset as_of, Callback<void(Status)> done) override;
  Bounds bounds() const override;
  void retain(WallTime now, Offset keep_from) override;
  void configure(const LogSettings& settings) override;
  bool has_failed() const override { return false; }

 private:
  friend class MemoryBudget;
  static constexpr int64_t kUnknown = INT64_MIN;
  MemoryBatch*& slot(uint32_t i) { return ring_[(head_ + i) & (capacity_ - 1)]; }
  MemoryBatch* at(uint32_t i) const { return ring_[(head_ + i) & (capacity_ - 1)]; }
  void push(MemoryBatch* batch);
  void drop_ring();
  void drop_front();
  void drop_back();
  void forget(MemoryBatch* batch);
  void enforce_records_max();
  uint32_t index_of(Offset offset) const;

  MemoryBudget* budget_;
  const LogSettings* settings_;
  Offset start_;
  Offset end_;
  uint64_t size_bytes_ = 0;
  uint64_t records_ = 0;
  mutable int64_t max_timestamp_ = -1;  // kUnknown: looked up when asked
  MemoryBatch* only_ = nullptr;         // the ring of one
  MemoryBatch** ring_ = &only_;         // capacity_ is a power of two
  uint32_t head_ = 0;
  uint32_t count_ = 0;
  uint32_t capacity_ = 1;
};

// Makes memory logs; keeps no list beyond those open: with the process they are gone. Lives on its core.
class MemoryEngine final : public Engine {
 public:
  explicit MemoryEngine(MemoryBudget& budget) : budget_(budget) {}
  EngineTraits traits() const override { return {"memory", false}; }
  void open(ShardId id, const LogSettings& settings, Offset first_offset, Callback<void(Result<OpenedLog>)> done) override;
  std::vector<ShardId> list() const override { return {}; }
  void remove(ShardId id, Callback<void(Status)> done) override;

 private:
  MemoryBudget& budget_;
};

}  // namespace robustmq::storage
