// The hot path of a light topic: one record, one append, one commit.
#include <benchmark/benchmark.h>

#include "shard/shard.h"
#include "storage/memory/memory_log.h"

namespace robustmq::shard {
namespace {

class StillCore final : public runtime::Core {
 public:
  CoreIndex index() const override { return 0; }
  CoreIndex count() const override { return 1; }
  Instant now() const override { return {}; }
  WallTime wall_now() const override { return {1'750'000'000'000}; }
  uint64_t random() override { return 4; }
  void arm(runtime::Timer&, Instant) override {}
  void defer(runtime::Deferred&) override {}
  void post(Callback<void()>) override {}
  void send(CoreIndex, Callback<void()>) override {}
  bool is_congested() const override { return false; }
  runtime::Disk& disk() override { std::abort(); }
  runtime::Net& net() override { std::abort(); }
};

struct Counting final : CommitListener {
  uint64_t bytes = 0;
  void on_committed(const ShardId&, const Bytes& batch, uint64_t) override { bytes += batch.size(); }
};

void AppendToMemory(benchmark::State& state) {
  StillCore core;
  storage::MemoryBudget budget(256 << 20);
  storage::LogSettings settings;
  settings.records_max = 1000;
  storage::OpenedLog opened;
  opened.log = std::make_unique<storage::MemoryLog>(budget, settings, 0);
  Shard shard(core, {}, std::move(opened), 1, {});
  Counting listener;
  shard.set_commit_listener(&listener);
  BatchBuilder builder;
  builder.begin_record(1, std::nullopt, as_bytes(std::string(64, 'x')));
  builder.end_record();
  const Bytes batch = builder.finish();
  uint64_t done = 0;
  for (auto _ : state) shard.append(Bytes::copy_of(batch.span()), 7, [&done](Result<Appended> result) { done += result.ok(); });
  state.counters["bytes_a_shard"] = sizeof(Shard) + sizeof(storage::MemoryLog);
  benchmark::DoNotOptimize(done);
}
BENCHMARK(AppendToMemory);

}  // namespace
}  // namespace robustmq::shard
