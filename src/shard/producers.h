// Producers: what a shard remembers of idempotent producers. Pure.
//
// For each producer id: its epoch and its last kProducerBatches batches (sequences and the offset each was given).
//   - a batch equal in epoch and sequences to a remembered one is a repeat: answered with the first offset, not stored again;
//   - its first sequence must follow the last one of the producer, 2^31-1 being followed by 0; otherwise out_of_order_sequence;
//   - an older epoch is fenced_producer; a newer one must begin at sequence 0 (out_of_order_sequence otherwise);
//   - a producer that is not known (new, expired, its records deleted) may begin at any sequence;
//   - a batch of an aborted transaction is no repeat of anything: its sequence may be used again (clients do that where the
//     answer to it got lost).
// Bounded: the producer idle longest goes first when there are more than `producers_max`, or after `idle_ms_max`; one with an
// open transaction stays.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <map>
#include <vector>

#include "base/batch.h"
#include "base/bytes.h"
#include "base/callback.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"

namespace robustmq::shard {

constexpr int kProducerBatches = 5;  // what Kafka's clients may have in flight

struct ProducerLimits {
  size_t producers_max = 10'000;             // a shard
  int64_t idle_ms_max = 24LL * 3600 * 1000;  // Kafka's producer.id.expiration.ms
};

// The sequence `count` after `sequence`, wrapping from 2^31-1 to 0.
constexpr int32_t sequence_after(int32_t sequence, int32_t count) {
  return static_cast<int32_t>((static_cast<int64_t>(sequence) + count) & 0x7fffffff);
}

// As kept.
struct ProducerBatchRow {
  Offset base_offset = -1;
  Offset last_offset = -1;
  int32_t first_sequence = -1;
  int32_t last_sequence = -1;
  bool is_aborted = false;

  template <class V>
  static void describe(V& v) {
    v.field("base_offset", &ProducerBatchRow::base_offset);
    v.field("last_offset", &ProducerBatchRow::last_offset);
    v.field("first_sequence", &ProducerBatchRow::first_sequence);
    v.field("last_sequence", &ProducerBatchRow::last_sequence);
    v.field("is_aborted", &ProducerBatchRow::is_aborted);
  }
};
struct ProducerRow {
  ProducerId id = -1;
  int64_t last_ms = 0;
  int16_t epoch = -1;
  std::vector<ProducerBatchRow> batches;

  template <class V>
  static void describe(V& v) {
    v.field("id", &ProducerRow::id);
    v.field("last_ms", &ProducerRow::last_ms);
    v.field("epoch", &ProducerRow::epoch);
    v.field("batches", &ProducerRow::batches);
  }
};
// As told.
struct ProducerFacts {
  ProducerId id = -1;
  int16_t epoch = -1;
  int32_t last_sequence = -1;
  int64_t last_ms = -1;
  Offset transaction_start = -1;  // of the one that is open; -1: none
};

// Where a producer stands.
struct ProducerLast {
  ProducerId id = -1;
  int16_t epoch = -1;
  Offset last_offset = -1;  // of its newest batch; -1: it has none
};

class Producers {
 public:
  explicit Producers(ProducerLimits limits = {}) : limits_(limits) {}

  // The caller ensures that the batch has a producer id >= 0. A repeat gives the offset of the first time; otherwise -1: the
  // batch may be stored and is then given to note().
  Result<Offset> check(const BatchView& batch) const;
  // A producer of which nothing is known from that offset on may go on behind what is known: the rest may have been lost.
  void set_lost_until(Offset offset) { lost_until_ = offset; }
  // Remembers a batch that is stored at `base_offset`.
  void note(const BatchView& batch, Offset base_offset, WallTime now);
  // A marker of this epoch is stored. `aborted_from`: where the transaction began that it aborts; -1: none.
  void note_end(ProducerId id, int16_t epoch, Offset aborted_from, WallTime now);
  bool knows(ProducerId id) const { return by_id_.contains(id); }
  // -1: not known.
  int16_t epoch_of(ProducerId id) const;
  // Whether a producer has to stay, however old it is.
  void set_stays(Callback<bool(ProducerId)> stays) { stays_ = std::move(stays); }
  // Forgets batches at or past `end`: they were not stored after all. Their producers go on with the first one forgotten, so a
  // later one that was on its way already does not take its place.
  void forget_from(Offset end);

  size_t size() const { return by_id_.size(); }
  std::vector<ProducerFacts> facts() const;  // by id
  std::vector<ProducerLast> lasts() const;
  // What is known of batches below `as_of`, for restore(); idle longest first.
  std::vector<ProducerRow> snapshot(Offset as_of) const;
  Status restore(const std::vector<ProducerRow>& rows);

 private:
  struct Batch {
    Offset base_offset = -1;
    Offset last_offset = -1;
    int32_t first_sequence = -1;
    int32_t last_sequence = -1;
    bool is_aborted = false;
  };
  struct Producer {
    ProducerId id = -1;
    int64_t last_ms = 0;
    int32_t next_sequence = 0;
    int16_t epoch = -1;
    uint8_t count = 0;  // of `batches`, oldest first
    std::array<Batch, kProducerBatches> batches;

    void remember(const Batch& batch);
  };

  Producer& touch(ProducerId id, WallTime now);
  void expire(WallTime now);

  ProducerLimits limits_;
  Callback<bool(ProducerId)> stays_;
  std::list<Producer> by_age_;  // idle longest first
  Offset lost_until_ = 0;
  std::map<ProducerId, std::list<Producer>::iterator> by_id_;
};

}  // namespace robustmq::shard
