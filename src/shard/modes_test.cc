// A shard on a joined log: what transactions, idempotent producers and readers see of modes and of their changes.
#include <gtest/gtest.h>

#include <memory>
#include <optional>

#include "runtime/sim/disk.h"
#include "runtime/sim/world.h"
#include "shard/marker.h"
#include "shard/shard.h"
#include "storage/joined_log.h"
#include "storage/memory/memory_log.h"
#include "storage/segment/engine.h"

namespace robustmq::shard {
namespace {

using runtime::sim::CrashKind;
using storage::Durability;

class ShardModes : public ::testing::Test {
 protected:
  ~ShardModes() override {
    node.crash(CrashKind::process);
    drop();
  }
  void start(Durability durability) {
    ++starts;
    budget = std::make_unique<storage::MemoryBudget>(memory_bytes);
    memory = std::make_unique<storage::MemoryEngine>(*budget);
    storage::SegmentEngine::open(node.core(0), {}, {}, [this](auto opened) { segment = opened.take(); });
    ASSERT_TRUE(world.run_until([this] { return segment != nullptr; }, Duration::seconds(10)));
    joined = std::make_unique<storage::JoinedEngine>(node.core(0), *memory, *segment, Offset{starts} << 32);
    settings.log.durability = durability;
    bool is_open = false;
    joined->open(kId, settings.log, 0, [&](Result<storage::OpenedLog> log) {
      ASSERT_TRUE(log.ok());
      shard = std::make_unique<Shard>(node.core(0), kId, log.take(), starts, settings);
      shard->recover([&](const Status& status) { is_open = status.ok(); });
    });
    ASSERT_TRUE(world.run_until([&] { return is_open; }, Duration::seconds(10)));
  }
  void crash_and_start(CrashKind kind, Durability durability) {
    node.crash(kind);
    drop();
    node.restart();
    start(durability);
  }
  void drop() {
    shard.reset();
    joined.reset();
    segment.reset();
    memory.reset();
    budget.reset();
  }
  Result<Appended> append(ProducerId producer = -1, int32_t sequence = -1, bool is_transactional = false, size_t bytes = 20) {
    BatchBuilder builder;
    builder.begin_record(5, std::nullopt, as_bytes(std::string(bytes, 'v')));
    builder.end_record();
    if (producer >= 0) builder.set_producer(producer, 0, sequence);
    Bytes batch = builder.finish();
    if (is_transactional) {
      batch.patchable()[22] |= 0x10;
      renew_batch_crc(batch.patchable(), batch.size());
    }
    std::optional<Result<Appended>> done;
    shard->append(std::move(batch), [&](Result<Appended> appended) { done = std::move(appended); });
    world.run_until([&] { return done.has_value(); }, Duration::seconds(10));
    return done ? std::move(*done) : Result<Appended>(Code::timed_out);
  }
  Status end_transaction(ProducerId producer, bool commits) {
    Status ended = Code::timed_out;
    shard->end_transaction({producer, 0, commits}, [&](Status status) { ended = std::move(status); });
    world.run_until([&] { return ended.code() != Code::timed_out; }, Duration::seconds(10));
    return ended;
  }
  Status change(Durability to) {
    Status changed = Code::timed_out;
    shard->change(to, [&](Status status) { changed = std::move(status); });
    world.run_until([&] { return changed.code() != Code::timed_out; }, Duration::seconds(10));
    return changed;
  }
  // Offsets of the batches with records, as a reader comes by them.
  std::vector<Offset> read_all(bool until_stable = false) {
    std::vector<Offset> found;
    Offset at = shard->bounds().log_start;
    while (true) {
      std::optional<Result<Fetched>> fetched;
      shard->fetch(at, 1 << 16, true, until_stable, [&](Result<Fetched> result) { fetched = std::move(result); });
      EXPECT_TRUE(world.run_until([&] { return fetched.has_value(); }, Duration::seconds(10)));
      EXPECT_TRUE((*fetched).ok()) << at;
      if (!(*fetched).ok() || (**fetched).next <= at) break;
      std::vector<Offset> batches;
      Status ended = Code::timed_out;
      shard->read_batches(
          at, (**fetched).next,
          [&](ByteSpan bytes) {
            if (BatchView(bytes).record_count() > 0) batches.push_back(BatchView(bytes).base_offset());
            return Status();
          },
          [&](Status status) { ended = std::move(status); });
      EXPECT_TRUE(world.run_until([&] { return ended.code() != Code::timed_out; }, Duration::seconds(10)));
      found.insert(found.end(), batches.begin(), batches.end());
      at = (**fetched).next;
    }
    return found;
  }

  static constexpr ShardId kId{};
  runtime::sim::SimWorld world{{.seed = 7}};
  runtime::sim::SimNode& node = world.add_node({});
  int64_t memory_bytes = 1 << 20;
  ShardSettings settings;
  LeaderEpoch starts = 0;
  std::unique_ptr<storage::MemoryBudget> budget;
  std::unique_ptr<storage::MemoryEngine> memory;
  std::unique_ptr<storage::SegmentEngine> segment;
  std::unique_ptr<storage::JoinedEngine> joined;
  std::unique_ptr<Shard> shard;
};

TEST_F(ShardModes, ReadersJoinWhatEachModeLeft) {
  start(Durability::synced);
  for (const Durability to : {Durability::memory, Durability::hybrid, Durability::memory, Durability::synced}) {
    ASSERT_TRUE(append().ok());
    ASSERT_TRUE(change(to).ok());
  }
  ASSERT_TRUE(append().ok());
  EXPECT_EQ(read_all(), (std::vector<Offset>{0, 1, 2, 3, 4}));
  crash_and_start(CrashKind::power, Durability::synced);
  EXPECT_EQ(read_all(), (std::vector<Offset>{0, 1, 2, 3, 4}));
  EXPECT_EQ(append()->base_offset, 5);
}

TEST_F(ShardModes, AHybridShardGoesOnBehindAGapThatReadersPass) {
  start(Durability::hybrid);
  ASSERT_TRUE(append().ok());
  world.run_for(Duration::millis(60));
  ASSERT_TRUE(append().ok());  // in the window
  crash_and_start(CrashKind::power, Durability::hybrid);
  const Offset next = Offset{2} << 32;
  EXPECT_EQ(append()->base_offset, next);
  EXPECT_EQ(read_all(), (std::vector<Offset>{0, next}));
  EXPECT_EQ(shard->end_of_epoch(1).end, 1) << "where the epoch ended that lost something";
  EXPECT_EQ(shard->end_of_epoch(2).end, next + 1);
  world.run_for(Duration::millis(60));
  crash_and_start(CrashKind::power, Durability::hybrid);
  EXPECT_EQ(read_all(), (std::vector<Offset>{0, next}));
  EXPECT_EQ(shard->bounds().high_watermark, Offset{3} << 32);
}

TEST_F(ShardModes, AProducerGoesOnBehindWhatTheWindowLost) {
  start(Durability::hybrid);
  for (int32_t sequence = 0; sequence < 3; ++sequence) {
    ASSERT_TRUE(append(9, sequence).ok());
    if (sequence == 1) world.run_for(Duration::millis(60));
  }
  crash_and_start(CrashKind::power, Durability::hybrid);
  EXPECT_TRUE(append(9, 1)->is_repeat) << "what is there is known";
  EXPECT_TRUE(append(9, 3).ok()) << "2 was acknowledged and lost";
  EXPECT_EQ(append(9, 5).code(), Code::out_of_order_sequence) << "from there on none may be missing";
}

TEST_F(ShardModes, AMarkerInAHybridShardIsAnsweredWhenItIsSynced) {
  start(Durability::hybrid);
  ASSERT_TRUE(append(9, 0, true).ok());
  ASSERT_TRUE(end_transaction(9, true).ok());
  crash_and_start(CrashKind::power, Durability::hybrid);
  EXPECT_FALSE(shard->open_since(9));
  EXPECT_EQ(read_all(true), (std::vector<Offset>{0, 1}));
}

TEST_F(ShardModes, AnOpenTransactionKeepsTheStrongerClass) {
  start(Durability::synced);
  ASSERT_TRUE(append(9, 0, true).ok());
  ASSERT_TRUE(change(Durability::memory).ok());
  ASSERT_TRUE(append().ok());
  EXPECT_EQ(budget->metrics().bytes, 0);
  ASSERT_TRUE(end_transaction(9, true).ok());
  world.run_for(Duration::millis(20));
  ASSERT_TRUE(append().ok());
  EXPECT_GT(budget->metrics().bytes, 0) << "in memory from the marker on";
  crash_and_start(CrashKind::power, Durability::memory);
  EXPECT_FALSE(shard->open_since(9));
  EXPECT_EQ(read_all(true), (std::vector<Offset>{0, 1, 2}));
}

TEST_F(ShardModes, EndsTransactionsWhoseMarkersWereInMemory) {
  start(Durability::synced);
  ASSERT_TRUE(append(9, 0, true).ok());
  crash_and_start(CrashKind::power, Durability::memory);
  EXPECT_FALSE(shard->open_since(9));
  EXPECT_EQ(shard->bounds().last_stable, shard->bounds().high_watermark);
  ASSERT_TRUE(append(9, 1, true).ok());
  ASSERT_TRUE(end_transaction(9, true).ok());
  ASSERT_TRUE(change(Durability::synced).ok());
  crash_and_start(CrashKind::power, Durability::synced);
  EXPECT_EQ(shard->bounds().last_stable, shard->bounds().high_watermark);
}

TEST_F(ShardModes, AStateSealedInMemoryDoesNotSpeakOfWhatIsLost) {
  start(Durability::synced);
  ASSERT_TRUE(append(9, 0).ok());
  ASSERT_TRUE(change(Durability::memory).ok());
  ASSERT_TRUE(append(9, 1).ok());
  ASSERT_TRUE(append(8, 0, true).ok());
  ASSERT_TRUE(end_transaction(8, false).ok());
  bool is_sealed = false;
  shard->seal([&](const Status& status) { is_sealed = status.ok(); });
  ASSERT_TRUE(world.run_until([&] { return is_sealed; }, Duration::seconds(10)));
  crash_and_start(CrashKind::power, Durability::memory);
  EXPECT_EQ(read_all(), (std::vector<Offset>{0}));
  EXPECT_FALSE(shard->knows_producer(8) && shard->open_since(8));
  EXPECT_TRUE(append(9, 2).ok());
  ASSERT_TRUE(change(Durability::synced).ok());
  crash_and_start(CrashKind::power, Durability::synced);
  EXPECT_EQ(read_all().size(), 2u);
}

TEST_F(ShardModes, WhatMemoryDroppedTakesWhatLiesBelow) {
  memory_bytes = 10'000;
  start(Durability::synced);
  ASSERT_TRUE(append().ok());
  ASSERT_TRUE(change(Durability::memory).ok());
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(append(-1, -1, false, 1000).ok());
  const Offset first = shard->bounds().log_start;
  EXPECT_GT(first, 1);
  std::vector<Offset> there = read_all();
  EXPECT_EQ(there.front(), first);
  ASSERT_TRUE(change(Durability::synced).ok());
  world.run_for(Duration::millis(20));
  EXPECT_EQ(read_all(), there);
  crash_and_start(CrashKind::power, Durability::synced);
  EXPECT_EQ(read_all(), there);
}

TEST_F(ShardModes, AFailedSyncEndsAHybridShardAndIsToldToWhoWaits) {
  start(Durability::hybrid);
  ASSERT_TRUE(append().ok());
  node.disk().faults().sync_errors = -1;
  world.run_for(Duration::millis(60));
  EXPECT_EQ(append().code(), Code::storage_failed);
  EXPECT_TRUE(shard->has_failed());
  EXPECT_EQ(read_all(), (std::vector<Offset>{0})) << "what was acknowledged can be read";
}

}  // namespace
}  // namespace robustmq::shard
