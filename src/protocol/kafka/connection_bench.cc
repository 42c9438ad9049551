// What a link costs: a produced batch of 64 KiB and 1 KiB records down and its answer up, a fetch of one, and small requests.
#include <benchmark/benchmark.h>

#include "protocol/kafka/frames/all.h"
#include "protocol/kafka/testing.h"

namespace robustmq::kafka {
namespace {

Bytes batch_of(int records) {
  BatchBuilder builder;
  const std::string value(1024, 'v');
  for (int i = 0; i < records; ++i) {
    builder.begin_record(1'700'000'000'000 + i, std::nullopt, as_bytes(value));
    builder.end_record();
  }
  return builder.finish();
}

// A link without the harness's copies: bytes in, replies at once, output dropped.
struct BareLink {
  KafkaOptions options;
  KafkaMetrics metrics;
  CoreShare core{options, 1, 1};
  std::unique_ptr<protocol::Connection> connection = make_connection(options, metrics, core, {1, 1, "127.0.0.1:1"});
  CallId last_call = 0;
  uint64_t sent = 0;

  template <class F>
  void run(F&& input, Outbox& out) {
    out.begin(Instant{1}, WallTime{1}, &last_call, 0, 1 << 30);
    input();
    sent += size_of(out.take_pieces());
  }
};

void Produce64KiB(benchmark::State& state) {
  ProduceRequest request;
  request.acks = -1;
  request.topic_data.push_back({"topic", {}, {{0, batch_of(63)}}});
  const std::string bytes = request_bytes(request, 9, 1);
  BareLink link;
  for (auto _ : state) {
    const Bytes input = Bytes::unowned(as_bytes(bytes));
    Outbox out;
    link.run([&] { link.connection->on_bytes(input, out); }, out);
    const CallId id = out.calls().at(0).id;
    Outbox back;
    link.run([&] { link.connection->on_reply(id, broker::Produced{{{.base_offset = 1}}}, back); }, back);
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * bytes.size()));
}
BENCHMARK(Produce64KiB);

void Fetch64KiB(benchmark::State& state) {
  FetchRequest request;
  request.topics.push_back({"topic", {}, {{.partition = 0, .partition_max_bytes = 1 << 20}}});
  const std::string bytes = request_bytes(request, 12, 1);
  const Bytes stored = batch_of(63);
  BareLink link;
  for (auto _ : state) {
    Outbox out;
    link.run([&] { link.connection->on_bytes(Bytes::unowned(as_bytes(bytes)), out); }, out);
    const CallId id = out.calls().at(0).id;
    Outbox back;
    link.run(
        [&] { link.connection->on_reply(id, broker::FetchReply{{{.high_watermark = 1, .batches = {Piece::of(stored)}}}}, back); },
        back);
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * stored.size()));
}
BENCHMARK(Fetch64KiB);

void AnswerApiVersions(benchmark::State& state) {
  const std::string bytes = request_bytes(ApiVersionsRequest{.client_software_name = "a", .client_software_version = "1"}, 3, 1);
  BareLink link;
  for (auto _ : state) {
    Outbox out;
    link.run([&] { link.connection->on_bytes(Bytes::unowned(as_bytes(bytes)), out); }, out);
  }
}
BENCHMARK(AnswerApiVersions);

}  // namespace
}  // namespace robustmq::kafka
