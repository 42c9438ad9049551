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

}  // namespace
}  // namespace robustmq::storage::conformance
