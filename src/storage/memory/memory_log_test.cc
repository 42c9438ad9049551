// Memory logs: limits, the shared budget, and what a log weighs.
#include "storage/memory/memory_log.h"

#include <gtest/gtest.h>

namespace robustmq::storage {
namespace {

Bytes batch_at(Offset offset, size_t bytes, int64_t timestamp_ms = 1000) {
  BatchBuilder builder;
  builder.begin_record(timestamp_ms, std::nullopt, as_bytes(std::string(bytes, 'x')));
  builder.end_record();
  Bytes batch = builder.finish();
  patch_batch(batch, offset, 0);
  return batch;
}

void append(MemoryLog& log, size_t bytes, int64_t timestamp_ms = 1000) {
  log.append_now(batch_at(log.bounds().end, bytes, timestamp_ms));
}

TEST(MemoryLog, TheOldestOfTheCoreGoesFirstWhicheverLogItIsOf) {
  MemoryBudget budget(10'000);
  MemoryLog a(budget, {}, 0);
  MemoryLog b(budget, {}, 0);
  append(a, 3000);
  append(b, 3000);
  append(a, 3000);
  EXPECT_EQ(budget.metrics().batches_dropped_by_budget_total, 0u);
  append(b, 3000);
  EXPECT_EQ(a.bounds().start, 1);
  EXPECT_EQ(b.bounds().start, 0);
  append(b, 3000);
  EXPECT_EQ(b.bounds().start, 1);
  EXPECT_EQ(budget.metrics().batches_dropped_by_budget_total, 2u);
  EXPECT_LE(budget.metrics().bytes, 10'000);
}

TEST(MemoryLog, ABatchLargerThanTheBudgetIsTakenAndGone) {
  MemoryBudget budget(1000);
  MemoryLog log(budget, {}, 7);
  append(log, 5000);
  EXPECT_EQ(log.bounds().start, 8);
  EXPECT_EQ(log.bounds().end, 8);
  EXPECT_EQ(budget.metrics().bytes, 0);
}

TEST(MemoryLog, KeepsAtMostItsRecords) {
  MemoryBudget budget(1 << 20);
  LogSettings settings;
  settings.records_max = 3;
  MemoryLog log(budget, settings, 0);
  for (int i = 0; i < 10; ++i) append(log, 10);
  EXPECT_EQ(log.bounds().start, 7);
  EXPECT_EQ(log.bounds().end, 10);
  settings.records_max = 1;
  log.configure(settings);
  EXPECT_EQ(log.bounds().start, 9);
}

TEST(MemoryLog, RetentionDropsByAgeAndSize) {
  MemoryBudget budget(1 << 20);
  LogSettings settings;
  settings.retention_ms = 100;
  settings.retention_bytes = 600;
  MemoryLog log(budget, settings, 0);
  append(log, 100, 1000);
  append(log, 100, 1100);
  append(log, 300, 1200);
  log.retain(WallTime{1150}, INT64_MAX);
  EXPECT_EQ(log.bounds().start, 1);
  log.retain(WallTime{1160}, INT64_MAX);
  EXPECT_LE(log.bounds().size_bytes, 600u);
}

TEST(MemoryLog, GivesItsMemoryBack) {
  MemoryBudget budget(1 << 20);
  {
    MemoryLog log(budget, {}, 0);
    for (int i = 0; i < 100; ++i) append(log, 50);
    EXPECT_GT(budget.metrics().bytes, 100 * 50);
  }
  EXPECT_EQ(budget.metrics().bytes, 0);
}

TEST(MemoryLog, AnEmptyLogIsSmall) { EXPECT_LE(sizeof(MemoryLog), 96u); }

}  // namespace
}  // namespace robustmq::storage
