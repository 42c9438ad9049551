// The whole node under virtual time with crashes and faults, from seeds. ROBUSTMQ_SIM_SEED=n replays one and tells what happens;
// ROBUSTMQ_SIM_SEEDS=n runs that many, from ROBUSTMQ_SIM_FIRST on.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/sim/node_run.h"

namespace robustmq::sim {
namespace {

uint64_t number_from(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

std::string text_of(const std::vector<std::string>& problems) {
  std::string text;
  for (size_t i = 0; i < problems.size() && i < 20; ++i) text += problems[i] + "\n";
  return text;
}

// The seeds in quarters, which may run at once.
constexpr uint64_t kQuarters = 4;
class NodeSim : public testing::TestWithParam<uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Quarter, NodeSim, testing::Range<uint64_t>(0, kQuarters));

TEST_P(NodeSim, KeepsItsPromisesThroughCrashesAndFaults) {
  if (std::getenv("ROBUSTMQ_SIM_SEED")) {
    if (GetParam() > 0) return;  // one seed is replayed
    RunOptions options;
    options.seed = number_from("ROBUSTMQ_SIM_SEED", 1);
    options.prints = true;
    const RunResult result = run_node(options);
    std::printf("seed %llu: %zu sent, %zu acknowledged, %d crashes, trace %016llx\n",
                static_cast<unsigned long long>(options.seed), result.sent, result.acknowledged, result.crashes,
                static_cast<unsigned long long>(result.trace_hash));
    EXPECT_TRUE(result.problems.empty()) << text_of(result.problems);
    return;
  }
  const uint64_t seeds = number_from("ROBUSTMQ_SIM_SEEDS", 200) / kQuarters;
  const uint64_t first = number_from("ROBUSTMQ_SIM_FIRST", 1) + GetParam() * seeds;
  size_t acknowledged = 0;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    RunOptions options;
    options.seed = seed;
    const RunResult result = run_node(options);
    acknowledged += result.acknowledged;
    EXPECT_TRUE(result.problems.empty()) << "make sim SEED=" << seed << " replays this:\n" << text_of(result.problems);
    if (seed < first + 5)
      EXPECT_EQ(run_node(options).trace_hash, result.trace_hash) << "seed " << seed << " ran differently the second time";
  }
  std::printf("%llu seeds, %zu messages acknowledged and found\n", static_cast<unsigned long long>(seeds), acknowledged);
}

// The simulation would notice a broker that acknowledges before it syncs.
TEST(History, CatchesANodeThatLeavesTheSyncOut) {
  if (std::getenv("ROBUSTMQ_SIM_SEED")) return;  // one seed is replayed
  int caught = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    RunOptions options;
    options.seed = seed;
    options.unsafe_skip_sync = true;
    caught += !run_node(options).problems.empty();
  }
  EXPECT_GE(caught, 5);
}

TEST(History, CatchesWhatWasPlanted) {
  const Place place{"t", 0};
  const auto judge = [&](auto&& plant) {
    History history;
    for (uint64_t n = 1; n <= 3; ++n) {
      history.sent(History::message("a", n));
      history.acknowledged(History::message("a", n));
    }
    std::vector<std::pair<Offset, std::string>> log{{0, "a#1"}, {1, "a#2"}, {2, "a#3"}};
    plant(history, log);
    history.read_finally(place, log);
    return history.judge();
  };
  EXPECT_TRUE(judge([](History&, auto&) {}).empty());
  EXPECT_FALSE(judge([](History&, auto& log) { log.pop_back(); }).empty());                           // lost
  EXPECT_FALSE(judge([](History&, auto& log) { log.emplace_back(3, "a#4"); }).empty());               // phantom
  EXPECT_FALSE(judge([](History&, auto& log) { log.emplace_back(3, "a#3"); }).empty());               // duplicate
  EXPECT_FALSE(judge([](History&, auto& log) { std::swap(log[0].second, log[1].second); }).empty());  // disorder
  EXPECT_FALSE(judge([&](History& history, auto&) { history.read(place, 1, "a#3"); }).empty());       // reuse
  EXPECT_FALSE(judge([](History& history, auto&) { history.delivered("a#9"); }).empty());             // delivered and gone
}

}  // namespace
}  // namespace robustmq::sim
