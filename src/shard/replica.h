// Replica: the pure half of a shard: which offset a batch gets, in which epoch, what is committed, and what is a repeat. Pure.
//
// Invariants: 1. start <= high watermark <= end. 2. The high watermark never falls. 3. end falls only in roll_back(), never
// below the high watermark.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "base/batch.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "shard/marker.h"
#include "shard/open_transactions.h"
#include "shard/producers.h"

namespace robustmq::shard {

class Replica {
 public:
  struct Assigned {
    Offset base_offset = -1;
    bool is_repeat = false;  // stored before at base_offset; not to be stored again
  };

  Replica(const Replica&) = delete;
  Replica(Offset end, LeaderEpoch epoch) : end_(end), high_watermark_(end), epoch_(epoch) {}

  // Gives the batch its offset and epoch (patched in place), unless it is a repeat. The caller ensures its shape and that nobody
  // else sees it yet. Errors: out_of_order_sequence, fenced_producer.
  Result<Assigned> assign(Bytes& batch, WallTime now);
  // The same of a marker (marker_batch). is_repeat: the producer's transaction has ended already in that epoch, nothing is to be
  // stored. Error: fenced_producer.
  Result<Assigned> assign_marker(Bytes& batch, const Marker& marker, WallTime now);
  // Everything below `offset` is committed.
  void commit(Offset offset);
  // Nothing below `offset`, which is committed, is given to readers any more, though the log may keep some of it.
  void trim(Offset offset) { start_ = std::max(start_, std::min(offset, high_watermark_)); }
  Offset start() const { return start_; }
  // What was assigned from the high watermark on was not stored.
  void roll_back();

  // Where the largest epoch at or below `epoch` ends, among what is committed; {-1, -1} for one that is newer than the shard's,
  // or for none.
  struct EpochEnd {
    LeaderEpoch epoch = -1;
    Offset end = -1;
  };
  EpochEnd end_of_epoch(LeaderEpoch epoch) const;
  LeaderEpoch epoch_at(Offset offset) const;
  std::vector<ProducerFacts> producer_facts() const;
  bool knows_producer(ProducerId id) const { return producers_ && producers_->knows(id); }

  // Below it every transaction has ended; at most the high watermark.
  Offset last_stable() const { return transactions_ ? transactions_->last_stable(high_watermark_) : high_watermark_; }
  std::optional<Offset> open_since(ProducerId id) const { return transactions_ ? transactions_->open_since(id) : std::nullopt; }
  std::vector<AbortedRange> aborted_in(Offset from, Offset until) const {
    return transactions_ ? transactions_->aborted_in(from, until) : std::vector<AbortedRange>();
  }
  std::vector<ProducerLast> producer_lasts() const { return producers_ ? producers_->lasts() : std::vector<ProducerLast>(); }

  // Compaction: below it the log was compacted, and of these aborted transactions nothing is left but the markers.
  void set_clean(Offset until, const std::vector<Offset>& markers) {
    clean_until_ = std::max(clean_until_, std::min(until, high_watermark_));
    if (transactions_ && !markers.empty()) transactions_->forget_markers(markers);
  }
  Offset clean_until() const { return clean_until_; }

  // The log begins there.
  void forget_below(Offset log_start) {
    if (transactions_) transactions_->forget_below(log_start);
  }

  // Rebuilding after a start: the state of the last seal, then each stored batch behind it, in order. What the state says of
  // offsets from `as_of` on is left out: what was kept in memory is gone, or is replayed.
  Status restore(ByteSpan state, Offset as_of = INT64_MAX);
  void replay(const BatchView& batch, WallTime now);
  // What was stored below that offset may have been lost: a producer may go on behind what is known of it.
  void set_lost_until(Offset offset) {
    if (offset > 0) producers().set_lost_until(offset);
  }
  // Those whose transaction is open, and their epoch.
  std::vector<Marker> markers_to_abort() const;
  // What restore() takes: the state below the high watermark.
  Bytes snapshot() const;

  Offset end() const { return end_; }
  Offset high_watermark() const { return high_watermark_; }
  LeaderEpoch epoch() const { return epoch_; }
  size_t producer_count() const { return producers_ ? producers_->size() : 0; }

 private:
  struct EpochStart {
    LeaderEpoch epoch = -1;
    Offset start = 0;

    template <class V>
    static void describe(V& v) {
      v.field("epoch", &EpochStart::epoch);
      v.field("start", &EpochStart::start);
    }
  };
  // As kept with a seal; fields are only appended.
  struct State {
    std::vector<ProducerRow> producers;  // idle longest first
    std::vector<EpochStart> epochs;
    int64_t start = 0;
    std::vector<OpenRow> open;
    std::vector<AbortedRow> aborted;
    int64_t clean_until = 0;

    template <class V>
    static void describe(V& v) {
      v.field("producers", &State::producers);
      v.field("epochs", &State::epochs);
      v.field("start", &State::start);
      v.field("open", &State::open);
      v.field("aborted", &State::aborted);
      v.field("clean_until", &State::clean_until);
    }
  };
  static constexpr size_t kEpochsMax = 1000;

  Producers& producers();
  OpenTransactions& transactions();
  void note_epoch(LeaderEpoch epoch, Offset start);

  Offset end_;
  Offset high_watermark_;
  Offset start_ = 0;
  Offset clean_until_ = 0;
  LeaderEpoch epoch_;
  std::vector<EpochStart> epochs_;                  // those that have records, the oldest first; at most kEpochsMax
  std::unique_ptr<Producers> producers_;            // made with the first idempotent producer
  std::unique_ptr<OpenTransactions> transactions_;  // made with the first transaction
};

}  // namespace robustmq::shard
