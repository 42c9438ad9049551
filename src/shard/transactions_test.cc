// Transactions of a shard: what a replica makes of transactional batches and markers, and the open ones against a model.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "shard/marker.h"
#include "shard/open_transactions.h"
#include "shard/replica.h"

namespace robustmq::shard {
namespace {

constexpr WallTime kNow{1000};

Bytes batch_of(ProducerId producer, int16_t epoch, int32_t sequence, bool is_transactional = true, int records = 1) {
  BatchBuilder builder;
  for (int i = 0; i < records; ++i) {
    builder.begin_record(5, std::nullopt, as_bytes("value"));
    builder.end_record();
  }
  builder.set_producer(producer, epoch, sequence);
  Bytes batch = builder.finish();
  if (is_transactional) batch.patchable()[22] |= 0x10;
  return batch;
}

// A replica whose appends are committed when told.
struct Rig {
  Result<Offset> append(ProducerId producer, int16_t epoch, int32_t sequence, bool is_transactional = true) {
    Bytes batch = batch_of(producer, epoch, sequence, is_transactional);
    const auto assigned = replica->assign(batch, kNow);
    if (!assigned.ok()) return assigned.error();
    if (!assigned->is_repeat) log.push_back(batch);
    return assigned->base_offset;
  }
  Result<Offset> end(ProducerId producer, int16_t epoch, bool commits) {
    const Marker marker{producer, epoch, commits};
    Bytes batch = marker_batch(marker, kNow);
    const auto assigned = replica->assign_marker(batch, marker, kNow);
    if (!assigned.ok()) return assigned.error();
    if (assigned->is_repeat) return Offset{-1};
    log.push_back(batch);
    return assigned->base_offset;
  }
  void commit() { replica->commit(replica->end()); }
  // As after a start: from the state kept at `kept_at` batches, and the batches behind.
  void restart(const Bytes& kept, size_t kept_at) {
    const Offset end = log.empty() ? 0 : BatchView(log.back()).next_offset();
    replica = std::make_unique<Replica>(end, 1);
    ASSERT_TRUE(replica->restore(kept).ok());
    for (size_t i = kept_at; i < log.size(); ++i) replica->replay(BatchView(log[i]), kNow);
  }
  std::unique_ptr<Replica> replica = std::make_unique<Replica>(0, 0);
  std::vector<Bytes> log;
};

TEST(OpenTransactions, KeepsNothingOfWhatTheLogDoesNotHave) {
  OpenTransactions open;
  for (Offset at = 0; at < 20; at += 2) {
    open.note_batch(1, at);
    open.note_marker({1, 0, false}, at + 1);
  }
  open.commit(20);
  EXPECT_EQ(open.aborted_rows(20).size(), 10u);
  open.forget_below(0);
  EXPECT_EQ(open.aborted_rows(20).size(), 10u);
  open.forget_below(6);
  EXPECT_EQ(open.aborted_rows(20).size(), 7u);
  EXPECT_EQ(open.aborted_in(0, 20).front().first, 6);
}

TEST(Marker, IsReadAsItIsWritten) {
  for (const bool commits : {false, true}) {
    const Bytes batch = marker_batch({77, 5, commits}, kNow);
    ASSERT_TRUE(BatchView::check_shape(batch).ok());
    const BatchView view(batch);
    EXPECT_TRUE(view.crc_is_right());
    EXPECT_TRUE(view.is_control());
    EXPECT_TRUE(view.is_transactional());
    EXPECT_EQ(view.record_count(), 1);
    EXPECT_EQ(view.base_sequence(), -1);
    const auto marker = marker_of(view);
    ASSERT_TRUE(marker.has_value());
    EXPECT_EQ(marker->producer, 77);
    EXPECT_EQ(marker->epoch, 5);
    EXPECT_EQ(marker->commits, commits);
  }
  EXPECT_FALSE(marker_of(BatchView(batch_of(1, 0, 0))).has_value());
}

TEST(Case57Replica, TheLastStableOffsetMovesWhenTheMarkerIsCommitted) {
  Rig rig;
  EXPECT_EQ(*rig.append(1, 0, 0), 0);
  EXPECT_EQ(*rig.append(-1, -1, -1, false), 1);
  EXPECT_EQ(*rig.append(2, 0, 0), 2);
  rig.commit();
  EXPECT_EQ(rig.replica->last_stable(), 0);
  EXPECT_EQ(*rig.end(1, 0, true), 3) << "the marker has an offset";
  EXPECT_EQ(rig.replica->last_stable(), 0) << "the marker is not committed";
  rig.commit();
  EXPECT_EQ(rig.replica->last_stable(), 2);
  EXPECT_EQ(*rig.end(2, 0, false), 4);
  rig.commit();
  EXPECT_EQ(rig.replica->last_stable(), 5);
  const auto aborted = rig.replica->aborted_in(0, 5);
  ASSERT_EQ(aborted.size(), 1u);
  EXPECT_EQ(aborted[0].producer, 2);
  EXPECT_EQ(aborted[0].first, 2);
}

TEST(Case29Replica, AbortedTransactionsAreSortedByTheirFirstOffset) {
  Rig rig;
  for (ProducerId producer = 1; producer <= 3; ++producer) ASSERT_TRUE(rig.append(producer, 0, 0).ok());
  // They end the other way round.
  for (ProducerId producer = 3; producer >= 1; --producer) ASSERT_TRUE(rig.end(producer, 0, false).ok());
  rig.commit();
  const auto aborted = rig.replica->aborted_in(0, 6);
  ASSERT_EQ(aborted.size(), 3u);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(aborted[i].first, static_cast<Offset>(i));
  EXPECT_TRUE(rig.replica->aborted_in(6, 7).empty());
}

TEST(Case20Replica, AProducerWithAnOpenTransactionWritesNothingBesideIt) {
  Rig rig;
  ASSERT_TRUE(rig.append(1, 0, 0).ok());
  EXPECT_EQ(rig.append(1, 0, 1, false).code(), Code::invalid_transaction_state);
  ASSERT_TRUE(rig.end(1, 0, true).ok());
  EXPECT_TRUE(rig.append(1, 0, 1, false).ok());
}

TEST(Case21Replica, ASequenceThatWasAbortedMayBeUsedAgain) {
  Rig rig;
  ASSERT_TRUE(rig.append(1, 0, 0).ok());
  ASSERT_TRUE(rig.append(1, 0, 1).ok());
  ASSERT_TRUE(rig.end(1, 0, false).ok());
  rig.commit();
  // The client never heard of its second batch, and goes on with that sequence.
  const Result<Offset> again = rig.append(1, 0, 1);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(*again, 3) << "stored anew, not taken for the aborted batch";
  EXPECT_EQ(*rig.append(1, 0, 1), 3) << "a repeat of what is there now";
  EXPECT_EQ(*rig.append(1, 0, 2), 4);
}

TEST(Case21Replica, AfterAnAbortTheSequenceMayAlsoGoOn) {
  Rig rig;
  ASSERT_TRUE(rig.append(1, 0, 0).ok());
  ASSERT_TRUE(rig.end(1, 0, false).ok());
  EXPECT_EQ(*rig.append(1, 0, 1), 2);
}

TEST(Case56Replica, AMarkersEpochFencesWhatComesLate) {
  Rig rig;
  ASSERT_TRUE(rig.append(1, 0, 0).ok());
  EXPECT_EQ(*rig.end(1, 1, true), 1);
  EXPECT_EQ(rig.append(1, 0, 1).code(), Code::fenced_producer) << "a late batch";
  EXPECT_EQ(rig.end(1, 0, false).code(), Code::fenced_producer) << "a late marker";
  EXPECT_EQ(*rig.end(1, 1, true), -1) << "ended already";
  EXPECT_EQ(rig.append(1, 1, 5).code(), Code::out_of_order_sequence) << "a new epoch begins at 0";
  EXPECT_EQ(*rig.append(1, 1, 0), 2);
}

TEST(Case56Replica, AMarkerWithoutBatchesFencesAllTheSame) {
  Rig rig;
  EXPECT_EQ(*rig.end(1, 3, false), 0);
  EXPECT_EQ(rig.append(1, 2, 0).code(), Code::fenced_producer);
  EXPECT_TRUE(rig.replica->aborted_in(0, 1).empty());
}

TEST(Case57Replica, AnOpenTransactionOutlivesItsProducersExpiry) {
  ProducerLimits limits;
  limits.producers_max = 4;
  Producers producers(limits);
  producers.set_stays([](ProducerId id) { return id == 0; });
  for (ProducerId id = 0; id < 20; ++id) producers.note(BatchView(batch_of(id, 0, 0)), id, kNow);
  EXPECT_TRUE(producers.knows(0));
  EXPECT_FALSE(producers.knows(1));
  EXPECT_EQ(producers.size(), 4u);
}

TEST(TransactionsOfAReplica, WhatWasNotStoredIsOpenAgain) {
  Rig rig;
  ASSERT_TRUE(rig.append(1, 0, 0).ok());
  rig.commit();
  ASSERT_TRUE(rig.append(2, 0, 0).ok());
  ASSERT_TRUE(rig.end(1, 0, false).ok());
  rig.replica->roll_back();
  EXPECT_EQ(rig.replica->last_stable(), 0);
  EXPECT_TRUE(rig.replica->open_since(1).has_value());
  EXPECT_FALSE(rig.replica->open_since(2).has_value());
  EXPECT_TRUE(rig.replica->aborted_in(0, 10).empty());
}

// Random transactions, ends, repeats, failed appends and starts; a reader of what is committed sees what a model says.
TEST(TransactionsOfAReplica, FollowTheModel) {
  for (uint32_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    Rig rig;
    struct Fate {
      ProducerId producer = -1;
      int ended = 0;  // 1 committed, -1 aborted, 0 open
    };
    std::map<Offset, Fate> fates;  // of every data record
    std::map<ProducerId, std::vector<Offset>> open;
    std::map<ProducerId, std::pair<int16_t, int32_t>> at;  // epoch and next sequence
    Bytes kept;
    size_t kept_at = 0;
    for (int step = 0; step < 400; ++step) {
      const ProducerId producer = random() % 4;
      auto& [epoch, sequence] = at[producer];
      switch (random() % 6) {
        case 0:
        case 1:
        case 2: {
          const Result<Offset> offset = rig.append(producer, epoch, sequence);
          ASSERT_TRUE(offset.ok()) << offset.error().to_string();
          ++sequence;
          fates[*offset] = {producer, 0};
          open[producer].push_back(*offset);
          break;
        }
        case 3:
        case 4: {
          const bool commits = random() % 2;
          const bool bumps = random() % 2;
          if (open[producer].empty() && !bumps) break;
          ASSERT_TRUE(rig.end(producer, static_cast<int16_t>(epoch + bumps), commits).ok());
          for (const Offset each : open[producer]) fates[each].ended = commits ? 1 : -1;
          open[producer].clear();
          if (bumps) {
            ++epoch;
            sequence = 0;
          }
          break;
        }
        case 5:
          rig.commit();
          if (random() % 3 == 0) {
            kept = rig.replica->snapshot();
            kept_at = rig.log.size();
          } else if (random() % 2 == 0) {
            rig.restart(kept, kept_at);
            if (HasFatalFailure()) return;
          }
          break;
      }
      rig.commit();
      Offset stable = rig.replica->end();
      for (const auto& [id, offsets] : open) {
        if (!offsets.empty()) stable = std::min(stable, offsets.front());
      }
      ASSERT_EQ(rig.replica->last_stable(), stable) << "at step " << step;
      // What a client makes of the list: a producer's records from its first aborted offset on are void until its marker.
      const Offset from = stable == 0 ? 0 : static_cast<Offset>(random() % static_cast<uint64_t>(stable));
      auto aborted = rig.replica->aborted_in(from, stable);
      ASSERT_TRUE(std::is_sorted(aborted.begin(), aborted.end(), [](auto& a, auto& b) { return a.first < b.first; }));
      std::map<ProducerId, bool> is_void;
      size_t next = 0;
      for (const Bytes& bytes : rig.log) {
        const BatchView batch(bytes);
        if (batch.next_offset() <= from || batch.base_offset() >= stable) continue;
        for (; next < aborted.size() && aborted[next].first <= batch.last_offset(); ++next)
          is_void[aborted[next].producer] = true;
        if (batch.is_control()) {
          is_void[batch.producer_id()] = false;
          continue;
        }
        ASSERT_EQ(is_void[batch.producer_id()], fates[batch.base_offset()].ended < 0)
            << "offset " << batch.base_offset() << " at step " << step;
      }
    }
  }
}

}  // namespace
}  // namespace robustmq::shard
