// RowLog: a log whose batches are key-value rows (storage/kv.h), for logs that are many and small. An open one is a few numbers;
// a closed one is nothing at all: it is made again from its bounds, which its owner keeps or asks of the rows.
//
// Row of a batch: key 'r', log id (16), last offset of the batch (8, big-endian, sign bit flipped); value: the batch. By the last
// offset, since the row that holds an offset is then the first one at or past it, and dropping what lies below an offset is one
// range delete. The owner's own row of the log (its name, where it begins) goes in one batch with the first record and with
// every trim.
#pragma once

#include <cstdint>
#include <string>

#include "base/anchor.h"
#include "storage/kv.h"
#include "storage/log.h"

namespace robustmq::storage {

// What the owner of a log keeps beside its batches.
class RowLogOwner {
 public:
  // The row that says that the log exists and where it begins; put with the first batch and whenever `start` moved.
  virtual KvBatch::Put row(Offset start, bool has_producers) = 0;

 protected:
  ~RowLogOwner() = default;
};

// Lives on the core of `kv`, which outlives it. Completions that are under way at its end do not come.
class RowLog final : public Log {
 public:
  struct Known {
    Offset start = 0;
    Offset end = 0;
    uint64_t size_bytes = 0;     // of what is known; after a start less than there is, until retain() has looked
    int64_t oldest_ms = -1;      // no kept record is older; -1: not known
    bool has_row = false;        // the owner's row is stored
    bool has_producers = false;  // some batch has a producer id
  };
  // `settings` outlives it; equal for many logs.
  RowLog(Kv& kv, RowLogOwner& owner, const Uuid& id, const Known& known, const LogSettings& settings);
  ~RowLog() override;

  void append(std::vector<Bytes> batches, Callback<void(Status)> done) override;
  void read(Offset from, ReadLimits limits, Callback<void(Result<ReadResult>)> done) override;
  void find(FindWhat what, Callback<void(Result<std::optional<Found>>)> done) override;
  void trim(Offset keep_from, Callback<void(Status)> done) override;
  void truncate(Offset keep_until, Callback<void(Status)> done) override;
  // Nothing: the batches are few enough to be read again.
  void seal(Bytes replica_state, Offset as_of, Callback<void(Status)> done) override;
  Bounds bounds() const override;
  void retain(WallTime now, Offset keep_from) override;
  void configure(const LogSettings& settings) override { settings_ = &settings; }
  bool has_failed() const override { return has_failed_; }

  // False while something is under way: then it must not be closed.
  bool is_idle() const { return under_way_ == 0; }
  const Known& known() const { return known_; }

  // The end of a log by its rows: what Kv::last between first_key and end_key gave, at least `start`.
  static Offset end_of(const KvRows& last, Offset start);
  static std::string first_key(const Uuid& id) { return key_of(id, INT64_MIN); }
  static std::string end_key(const Uuid& id);  // behind every row of the log

  // Records over LogSettings::records_max that are kept until their range is deleted, as a part of it.
  static constexpr int64_t kSlackDivisor = 4;

 private:
  class Walk;
  static std::string key_of(const Uuid& id, Offset last_offset);
  void put_row(KvBatch& batch);
  void cut(KvBatch& batch, Offset keep_from);
  // An append under way: where it begins, where the log began before it, and what it cuts off (its start).
  struct Asked {
    Offset begin = 0;
    Offset start_before = 0;
    Offset start = 0;
    bool with_row = false;
  };
  void on_appended(Status status, const Asked& asked, Callback<void(Status)>& done);
  class Reading;

  Kv& kv_;
  RowLogOwner& owner_;
  Uuid id_;
  Known known_;
  const LogSettings* settings_;
  uint32_t under_way_ = 0;
  uint32_t appends_ = 0;  // of them
  bool row_is_due_;
  bool is_retaining_ = false;
  bool is_failing_ = false;  // an append failed: those behind it fail too, until none is under way
  bool has_failed_ = false;
  AnchorOwner<RowLog> anchor_;
};

}  // namespace robustmq::storage
