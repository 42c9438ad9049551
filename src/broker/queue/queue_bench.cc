// What a message costs in a Queue: arrival, lease and accept, with much in flight and many members.
#include <benchmark/benchmark.h>

#include "broker/queue/queue.h"

namespace robustmq::queue {
namespace {

// One message in and out at a time, pushed by credit, with `in_flight` others leased and `members` that wait.
void BM_PushAndAccept(benchmark::State& state) {
  QueueOptions options;
  QueueMetrics metrics;
  Queue queue(options, metrics, nullptr, 0);
  const Now now{{1}, {1}};
  const auto members = static_cast<ConsumerId>(state.range(1));
  for (ConsumerId id = 1; id <= members; ++id) {
    queue.add_consumer({.id = id}, now);
    queue.credit(id, INT64_MAX / 2, false, now);
  }
  Offset next = 0;
  for (; next < state.range(0) * 2; ++next) {
    queue.arrive({.first = next, .last = next}, now);
    const auto grants = std::exchange(queue.outputs().grants, {});
    // Every second one stays leased, so that ranges do not join.
    if (next % 2 == 0) queue.settle({{.consumer = grants[0].consumer, .first = next, .last = next}}, now);
    queue.outputs() = {};
  }
  for (auto _ : state) {
    queue.arrive({.first = next, .last = next}, now);
    const ConsumerId holder = queue.outputs().grants[0].consumer;
    queue.settle({{.consumer = holder, .first = next, .last = next}}, now);
    queue.outputs() = {};
    ++next;
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_PushAndAccept)->ArgNames({"in_flight", "members"})->Args({0, 1})->Args({1000, 100})->Args({10'000, 1'000});

// A consumer pulls and accepts 500 at a time from a backlog.
void BM_PullAndAcceptABatch(benchmark::State& state) {
  QueueOptions options;
  QueueMetrics metrics;
  Queue queue(options, metrics, nullptr, 0);
  const Now now{{1}, {1}};
  queue.add_consumer({.id = 1}, now);
  queue.arrive({.first = 0, .last = INT64_MAX / 4}, now);
  for (auto _ : state) {
    benchmark::DoNotOptimize(queue.lease({.consumer = 1, .messages_max = 500}, now));
    const auto grant = queue.outputs().grants[0];
    queue.settle({{.consumer = 1, .first = grant.first, .last = grant.last}}, now);
    queue.outputs() = {};
  }
  state.SetItemsProcessed(state.iterations() * 500);
}
BENCHMARK(BM_PullAndAcceptABatch);

}  // namespace
}  // namespace robustmq::queue
