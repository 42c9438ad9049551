// Every engine against the model; the durable one through restarts, crashes and disk faults.
#include <gtest/gtest.h>

#include "storage/conformance/rig.h"

namespace robustmq::storage::conformance {
namespace {

using runtime::sim::CrashKind;

RigOptions options_of(EngineKind kind, uint64_t seed) {
  RigOptions options;
  options.kind = kind;
  options.seed = seed;
  options.storage = small_options();
  options.settings.segment_bytes = 4000;
  return options;
}

TEST(Conformance, MemoryFollowsTheModel) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    Rig rig(options_of(EngineKind::memory, seed));
    ASSERT_TRUE(rig.start());
    for (int i = 0; i < 150 && rig.failures().empty(); ++i) rig.step();
    rig.settle();
    rig.check_all();
    ASSERT_EQ(rig.first_failure(), "");
  }
}

TEST(Conformance, SegmentFollowsTheModel) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
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
  for (uint64_t seed = getenv("RIG_SEED") ? atoi(getenv("RIG_SEED")) : 1; seed <= 400; ++seed) {
    std::string failure;
    crash_rounds(options_of(EngineKind::segment, seed), 5, 60, failure);
    ASSERT_EQ(failure, "");
  }
}

}  // namespace
}  // namespace robustmq::storage::conformance
