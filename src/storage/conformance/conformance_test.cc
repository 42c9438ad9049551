// Every engine against the model; the durable one through restarts, crashes and disk faults.
#include <gtest/gtest.h>

#include <cstdlib>

#include "storage/conformance/rig.h"

namespace robustmq::storage::conformance {
namespace {

using runtime::sim::CrashKind;

// One seed alone: ROBUSTMQ_TEST_SEED=n (the tests that loop then begin there).
uint64_t first_seed() {
  const char* seed = std::getenv("ROBUSTMQ_TEST_SEED");
  return seed ? std::strtoull(seed, nullptr, 10) : 1;
}

// How many: ROBUSTMQ_TEST_SEEDS=n instead of the test's own number.
uint64_t last_seed(uint64_t usual) {
  const char* count = std::getenv("ROBUSTMQ_TEST_SEEDS");
  return first_seed() - 1 + (count ? std::strtoull(count, nullptr, 10) : usual);
}

RigOptions options_of(EngineKind kind, uint64_t seed) {
  RigOptions options;
  options.kind = kind;
  options.seed = seed;
  options.storage = small_options();
  options.settings.segment_bytes = 4000;
  options.settings.retention_bytes = 20'000;
  options.settings.retention_ms = 300;
  return options;
}

TEST(Conformance, MemoryFollowsTheModel) {
  for (uint64_t seed = first_seed(); seed <= last_seed(100); ++seed) {
    Rig rig(options_of(EngineKind::memory, seed));
    ASSERT_TRUE(rig.start());
    for (int i = 0; i < 150 && rig.failures().empty(); ++i) rig.step();
    rig.settle();
    rig.check_all();
    ASSERT_EQ(rig.first_failure(), "");
  }
}

TEST(Conformance, SegmentFollowsTheModel) {
  for (uint64_t seed = first_seed(); seed <= last_seed(100); ++seed) {
    Rig rig(options_of(EngineKind::segment, seed));
    ASSERT_TRUE(rig.start());
    for (int i = 0; i < 150 && rig.failures().empty(); ++i) rig.step();
    rig.settle();
    rig.check_all();
    ASSERT_EQ(rig.first_failure(), "");
    ASSERT_TRUE(rig.close_and_start());
    ASSERT_EQ(rig.first_failure(), "");
  }
}

// Crashes of both kinds at random moments, again and again, with operations under way.
void crash_rounds(RigOptions options, int rounds, int steps, std::string& failure) {
  Rig rig(std::move(options));
  if (!rig.start()) return;
  for (int round = 0; round < rounds && rig.failures().empty(); ++round) {
    const uint64_t count = rig.random().below(static_cast<uint64_t>(steps));
    for (uint64_t i = 0; i < count && rig.failures().empty(); ++i) rig.step();
    if (rig.random().chance(100'000)) {
      rig.close_and_start();
    } else {
      rig.crash_and_start(rig.random().chance(800'000) ? CrashKind::power : CrashKind::process);
    }
  }
  failure = rig.first_failure();
}

TEST(Conformance, SegmentKeepsWhatItAcknowledgedThroughCrashes) {
  for (uint64_t seed = first_seed(); seed <= last_seed(150); ++seed) {
    std::string failure;
    crash_rounds(options_of(EngineKind::segment, seed), 5, 60, failure);
    ASSERT_EQ(failure, "");
  }
}

// Little but appends, rewrites and crashes, so that each step of a rewrite is the last one in some life.
TEST(Conformance, ARewriteIsThereOrIsNotWhenTheNodeCrashes) {
  uint64_t rewrites = 0;
  for (uint64_t seed = first_seed(); seed <= last_seed(150); ++seed) {
    RigOptions options = options_of(EngineKind::segment, seed);
    options.settings.segment_bytes = 1500;
    options.settings.retention_bytes = options.settings.retention_ms = -1;
    Rig rig(options);
    ASSERT_TRUE(rig.start());
    rig.create(0);
    rig.settle();
    for (int round = 0; round < 6 && rig.failures().empty(); ++round) {
      for (int i = 0; i < 12; ++i) rig.append(0, 50 + rig.random().below(500), 2);
      rig.settle();
      rig.segment_engine().checkpoint([](Status) {});
      rig.world().run_for(Duration::millis(20));
      for (uint64_t i = rig.random().between(1, 5); i > 0; --i) {
        rig.rewrite(0);
        rig.settle();
        rig.rewrite(0);
        if (i > 1) rig.settle();
        rig.read(0, 0, {});
        if (rig.random().chance(300'000)) rig.append(0, 200);
      }
      rig.world().run_for(Duration::micros(static_cast<int64_t>(rig.random().below(4000))));
      rig.crash_and_start(rig.random().chance(700'000) ? CrashKind::power : CrashKind::process);
    }
    rewrites += rig.rewrite_count();
    ASSERT_EQ(rig.first_failure(), "");
    ASSERT_TRUE(rig.close_and_start());
    ASSERT_EQ(rig.first_failure(), "");
  }
  EXPECT_GT(rewrites, 300u);
}

TEST(Conformance, ABuildThatLeavesTheSyncOutIsCaught) {
  int caught = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    RigOptions options = options_of(EngineKind::segment, seed);
    options.switches.unsafe_skip_sync = true;
    std::string failure;
    crash_rounds(std::move(options), 3, 60, failure);
    caught += failure.empty() ? 0 : 1;
  }
  EXPECT_GE(caught, 10);
}

TEST(Conformance, AFullDiskRefusesAppendsKeepsReadsAndRecovers) {
  uint64_t refused = 0;
  for (uint64_t seed = first_seed(); seed <= last_seed(100); ++seed) {
    Rig rig(options_of(EngineKind::segment, seed));
    ASSERT_TRUE(rig.start());
    for (int round = 0; round < 4 && rig.failures().empty(); ++round) {
      for (int i = 0; i < 40 && rig.failures().empty(); ++i) rig.step();
      rig.disk().faults().capacity_bytes = rig.disk().used_bytes() + rig.random().below(8000);
      for (int i = 0; i < 60 && rig.failures().empty(); ++i) rig.step();
      rig.settle();
      rig.check_all();
      rig.disk().faults().capacity_bytes = UINT64_MAX;
      ASSERT_FALSE(rig.segment_engine().has_failed()) << "seed " << seed;
      // Space is back: appends succeed.
      const int number = rig.create_next();
      rig.settle();
      const uint64_t before = rig.acked_count();
      rig.append(number, 100);
      rig.settle();
      ASSERT_EQ(rig.first_failure(), "");
      ASSERT_EQ(rig.acked_count(), before + 1) << "seed " << seed;
      if (rig.random().chance(500'000)) rig.crash_and_start(CrashKind::power);
    }
    refused += rig.refused_count();
    ASSERT_EQ(rig.first_failure(), "");
  }
  EXPECT_GT(refused, 100u);
}

// Small journals, so that they fill up while no checkpoint can be made; and starts on a full disk.
TEST(Conformance, AJournalThatCannotBeEmptiedRefusesAndAFullDiskStillStarts) {
  int starts = 0;
  for (uint64_t seed = first_seed(); seed <= last_seed(30); ++seed) {
    RigOptions options = options_of(EngineKind::segment, seed);
    options.settings.segment_bytes = 1 << 20;
    options.storage.journal_files_max = 2;
    Rig rig(options);
    ASSERT_TRUE(rig.start());
    for (int i = 0; i < 3; ++i) rig.create_next();
    rig.settle();
    for (int i = 0; i < 40; ++i) rig.append(i % 3, 1500);
    rig.settle();
    // Room for some segments' bytes, not for a checkpoint beside the old one.
    rig.disk().faults().capacity_bytes = rig.disk().used_bytes() + 150;
    for (int i = 0; i < 300; ++i) {
      rig.append(i % 3, 100);
      if (i % 10 == 0) rig.settle();
    }
    rig.settle();
    ASSERT_EQ(rig.first_failure(), "");
    ASSERT_FALSE(rig.segment_engine().has_failed());
    rig.crash(CrashKind::process);
    if (rig.start()) {
      ++starts;
      rig.check_all();
      for (int i = 0; i < 10; ++i) rig.append(i % 3, 300);
      rig.settle();
    }
    rig.disk().faults().capacity_bytes = UINT64_MAX;
    rig.crash_and_start(CrashKind::power);
    ASSERT_EQ(rig.first_failure(), "");
    const uint64_t before = rig.acked_count();
    rig.append(0, 300);
    rig.settle();
    ASSERT_EQ(rig.acked_count(), before + 1);
  }
  EXPECT_GT(starts, 20);
}

TEST(Conformance, AFailedSyncIsFinalUntilTheNextStart) {
  int failed = 0;
  for (uint64_t seed = first_seed(); seed <= last_seed(150); ++seed) {
    Rig rig(options_of(EngineKind::segment, seed));
    ASSERT_TRUE(rig.start());
    for (int round = 0; round < 4 && rig.failures().empty(); ++round) {
      for (int i = 0; i < 30 && rig.failures().empty(); ++i) rig.step();
      rig.disk().faults().sync_errors = rig.random().chance(500'000) ? 1 : -1;
      for (int i = 0; i < 20 && rig.failures().empty(); ++i) rig.step();
      rig.settle();
      rig.check_all();  // what was durable is read all the same
      const bool has_failed = rig.segment_engine().has_failed();
      failed += has_failed ? 1 : 0;
      const uint64_t before = rig.acked_count();
      rig.disk().faults().sync_errors = 0;
      if (has_failed) {
        for (int i = 0; i < 20; ++i) rig.step();
        rig.settle();
        ASSERT_EQ(rig.acked_count(), before) << "seed " << seed;
      }
      // The page cache shows bytes that the disk does not have: a restart of the process, then a power cut.
      rig.crash_and_start(CrashKind::process);
      for (int i = 0; i < 5 && rig.failures().empty(); ++i) rig.step();
      rig.crash_and_start(CrashKind::power);
    }
    ASSERT_EQ(rig.first_failure(), "");
  }
  EXPECT_GT(failed, 100);
}

TEST(Conformance, DamageIsReportedNeverServedAndNeverStopsTheStart) {
  int reported = 0;
  for (uint64_t seed = first_seed(); seed <= last_seed(200); ++seed) {
    Rig rig(options_of(EngineKind::segment, seed));
    ASSERT_TRUE(rig.start());
    for (int i = 0; i < 80 && rig.failures().empty(); ++i) rig.step();
    rig.settle();
    rig.random().chance(500'000) ? rig.crash(CrashKind::power) : rig.crash(CrashKind::process);
    rig.forget_losses();
    const std::vector<std::string> paths = rig.disk().file_paths();
    const uint64_t flips = rig.random().between(1, 20);
    for (uint64_t i = 0; i < flips; ++i) {
      const std::string& path = paths[rig.random().below(paths.size())];
      const uint64_t size = rig.disk().contents(path)->size();
      if (size > 0) rig.disk().flip_bit(path, rig.random().below(size * 8));
    }
    ASSERT_TRUE(rig.start()) << rig.first_failure();
    ASSERT_EQ(rig.first_failure(), "");
    reported += !rig.segment_engine().report().empty();
  }
  EXPECT_GT(reported, 50) << "what was cut is told";
}

TEST(Conformance, RetentionBySizeKeepsWhatItMustAndNoSegmentMore) {
  RigOptions options = options_of(EngineKind::segment, 1);
  options.settings.retention_ms = -1;
  Rig rig(options);
  ASSERT_TRUE(rig.start());
  rig.create(0);
  rig.settle();
  for (int i = 0; i < 60; ++i) {
    rig.append(0, 1000);
    rig.settle();
  }
  const auto bytes_left = [&] {
    const Rig::Model& model = *rig.model(0);
    int64_t bytes = 0;
    for (const Rig::Issued& each : model.issued) {
      if (each.base >= model.log->bounds().start) bytes += static_cast<int64_t>(each.bytes.size());
    }
    return bytes;
  };
  ASSERT_GT(bytes_left(), 50'000);
  rig.retain(0);
  rig.settle();
  EXPECT_GT(rig.model(0)->log->bounds().start, 0);
  EXPECT_GE(bytes_left(), options.settings.retention_bytes);
  EXPECT_LT(bytes_left(), options.settings.retention_bytes + options.settings.segment_bytes + 2'000);
  rig.check_all();
  EXPECT_EQ(rig.first_failure(), "");
}

// A journal file full of old frames, and of batches that look like the next ones, is used again; then the power goes.
TEST(Conformance, ARecycledJournalFoolsNobody) {
  for (uint64_t seed = first_seed(); seed <= last_seed(30); ++seed) {
    RigOptions options = options_of(EngineKind::segment, seed);
    options.settings.segment_bytes = 1 << 20;
    Rig rig(options);
    ASSERT_TRUE(rig.start());
    rig.create(0);
    rig.settle();
    for (int round = 0; round < 3; ++round) {
      for (int i = 0; i < 120; ++i) {
        rig.append(0, 1000 + rig.random().below(1000));
        if (i % 4 == 0) rig.settle();
      }
      rig.settle();
      // The same offsets again: what the old frames hold would continue the chain.
      rig.truncate(0, 0);
      rig.settle();
      rig.append(0, 1000 + rig.random().below(1000));
      rig.run_a_little();
      rig.crash_and_start(CrashKind::power);
      ASSERT_EQ(rig.first_failure(), "");
    }
  }
}

}  // namespace
}  // namespace robustmq::storage::conformance
