// What a lookup costs: `a/+/c` with five matches among many topics that do not match, and a set.
#include <benchmark/benchmark.h>

#include "broker/retained/store.h"

namespace robustmq::broker {
namespace {

RetainedMessage message() { return RetainedMessage::make(as_bytes("21.5"), {}, 0); }

void BM_LookupAmongOthers(benchmark::State& state) {
  const RetainedOptions options;
  RetainedMetrics metrics;
  RetainedStore store(options, RetainedLimits::share_of(options, 1), metrics);
  for (int64_t i = 0; i < state.range(0); ++i) store.put("a/" + std::to_string(i) + "/b", message());
  for (int i = 0; i < 5; ++i) store.put("a/" + std::to_string(i) + "/c", message());
  while (store.build_some(100'000)) {
  }
  const uint64_t visited = metrics.nodes_visited_total;
  size_t found = 0;
  for (auto _ : state) {
    WalkPosition at;
    while (!store.read("a/+/c", at, {}, WallTime{0}, [&](const std::string&, const RetainedMessage&) { ++found; })) {
    }
  }
  const auto lookups = static_cast<double>(state.iterations());
  state.counters["nodes"] = static_cast<double>(metrics.nodes_visited_total - visited) / lookups;
  state.counters["matches"] = static_cast<double>(found) / lookups;
}
BENCHMARK(BM_LookupAmongOthers)->Arg(1'000)->Arg(100'000);

void BM_Set(benchmark::State& state) {
  const RetainedOptions options;
  RetainedMetrics metrics;
  RetainedStore store(options, RetainedLimits::share_of(options, 1), metrics);
  int64_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(store.set("plant/line" + std::to_string(i % 100) + "/meter" + std::to_string(i), message()));
    ++i;
  }
}
BENCHMARK(BM_Set)->Iterations(20'000);

}  // namespace
}  // namespace robustmq::broker
