// Cost of checking a produced batch beside its CRC alone, which is the floor. Items are records.
#include <benchmark/benchmark.h>

#include "base/hash.h"
#include "protocol/kafka/batch_check.h"

namespace robustmq::kafka {
namespace {

Bytes batch_of(size_t batch_bytes, size_t value_bytes) {
  BatchBuilder builder;
  const std::string value(value_bytes, 'v');
  do {
    builder.begin_record(1'700'000'000'000, std::nullopt, as_bytes(value));
    builder.end_record();
  } while (builder.size_bytes() + value_bytes < batch_bytes);
  return builder.finish();
}

void BM_CheckProducedBatch(benchmark::State& state) {
  Bytes batch = batch_of(64 << 10, static_cast<size_t>(state.range(0)));
  for (auto _ : state) {
    if (!check_produced_batch(batch, 9, {}).ok()) state.SkipWithError("refused");
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(batch.size()));
  state.SetItemsProcessed(state.iterations() * BatchView(batch).record_count());
}
BENCHMARK(BM_CheckProducedBatch)->Arg(64)->Arg(1024)->Arg(60'000);

void BM_CrcAlone(benchmark::State& state) {
  const Bytes batch = batch_of(64 << 10, 1024);
  for (auto _ : state) benchmark::DoNotOptimize(BatchView(batch).crc_is_right());
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(batch.size()));
}
BENCHMARK(BM_CrcAlone);

}  // namespace
}  // namespace robustmq::kafka
