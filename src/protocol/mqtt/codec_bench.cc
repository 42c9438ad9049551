// What one message costs in the codec and the connection machine, without sockets and broker.
#include <benchmark/benchmark.h>

#include "base/batch.h"
#include "protocol/mqtt/codec.h"
#include "protocol/mqtt/connection.h"
#include "protocol/mqtt/names.h"

namespace robustmq::mqtt {
namespace {

std::string connect_packet(Version version) {
  Buffer bytes;
  encode(Connect{.version = version, .client_id = "bench"}, bytes);
  return std::string(as_text(bytes.span()));
}

Bytes publishes(int count, uint8_t qos, Version version, ByteSpan properties = {}) {
  Buffer bytes;
  const std::string payload(64, 'p');
  for (int i = 0; i < count; ++i) {
    Publish publish{.qos = qos,
                    .packet_id = static_cast<uint16_t>(i % 1000 + 1),
                    .topic = "bench/plant/line1/temp",
                    .payload = as_bytes(payload)};
    publish.properties.raw = properties;
    encode(publish, version, bytes);
  }
  return bytes.take();
}

// A connection that has its CONNACK, and its outbox.
struct OpenLink {
  explicit OpenLink(Version version) : machine(make_connection(options, metrics, {.id = 1, .seed = 2, .peer = {}})) {
    begin();
    machine->on_open(out);
    machine->on_bytes(Bytes::copy_of(connect_packet(version)), out);
    machine->on_reply(last, broker::SessionOpened{}, out);
  }
  void begin() {
    out.clear();
    out.begin({}, {}, &last, 0, UINT64_MAX);
  }
  MqttOptions options;
  MqttMetrics metrics;
  protocol::CallId last = 0;
  protocol::Outbox out;
  std::unique_ptr<protocol::Connection> machine;
};

void decode_publish_qos0(benchmark::State& state) {
  const Bytes bytes = publishes(1, 0, Version::v3_1_1);
  for (auto _ : state) {
    Frame frame;
    Publish publish;
    benchmark::DoNotOptimize(frame_at(bytes.span(), frame));
    benchmark::DoNotOptimize(static_cast<bool>(decode_publish(frame, Version::v3_1_1, Side::client, publish)));
  }
}
BENCHMARK(decode_publish_qos0);

// Items are messages: `range` of them come in one read.
void publish_in(benchmark::State& state, uint8_t qos, Version version, ByteSpan properties) {
  OpenLink link(version);
  const int count = static_cast<int>(state.range(0));
  const Bytes bytes = publishes(count, qos, version, properties);
  for (auto _ : state) {
    link.begin();
    link.machine->on_bytes(bytes, link.out);
    benchmark::DoNotOptimize(link.out.calls().data());
    if (qos == 0) continue;
    std::vector<std::pair<protocol::CallId, size_t>> calls;
    for (const auto& call : link.out.calls())
      calls.emplace_back(call.id, std::get<broker::Publish>(call.request).messages.size());
    for (const auto& [id, messages] : calls) {
      link.begin();
      link.machine->on_reply(id, broker::Published{std::vector<broker::PublishResult>(messages)}, link.out);
    }
  }
  state.SetItemsProcessed(state.iterations() * count);
}
void publish_qos0_in(benchmark::State& state) { publish_in(state, 0, Version::v3_1_1, {}); }
BENCHMARK(publish_qos0_in)->Arg(1)->Arg(100);
void publish_qos1_in(benchmark::State& state) { publish_in(state, 1, Version::v3_1_1, {}); }
BENCHMARK(publish_qos1_in)->Arg(1)->Arg(100);
void publish_v5_properties_in(benchmark::State& state) {
  Buffer properties;
  put_user_property(properties, "trace", "0123456789abcdef");
  put_text(properties, PropertyId::content_type, "application/json");
  publish_in(state, 0, Version::v5, properties.span());
}
BENCHMARK(publish_v5_properties_in)->Arg(1)->Arg(100);

// One record to `range` followers that share its scratch; items are deliveries.
void delivery(benchmark::State& state, uint8_t qos, Version version, bool has_properties) {
  std::vector<std::unique_ptr<OpenLink>> links;
  for (int i = 0; i < state.range(0); ++i) links.push_back(std::make_unique<OpenLink>(version));
  Buffer bytes;
  bytes.append(std::string(64, 'p'));
  bytes.append(plain_headers(1));
  if (has_properties) BatchBuilder::append_header(bytes, "trace", as_bytes("0123456789abcdef"));
  const Bytes owner = bytes.take();
  RecordView record;
  record.value = owner.span().first(64);
  record.raw_headers = owner.span().subspan(64);
  record.header_count = has_properties ? 2 : 1;
  Buffer ack;
  for (auto _ : state) {
    broker::DeliveryScratch scratch;
    for (auto& link : links) {
      link->begin();
      link->machine->on_delivery(
          {.topic = "bench/plant/line1/temp", .record = record, .owner = owner, .qos_max = qos, .scratch = scratch}, link->out);
      benchmark::DoNotOptimize(link->out.out().data());
    }
    if (qos == 0) continue;
    state.PauseTiming();
    for (auto& link : links) {
      ack.clear();
      encode(Ack{.packet_id = static_cast<uint16_t>(link->out.out().data()[26] << 8 | link->out.out().data()[27])}, version, ack);
      link->begin();
      link->machine->on_bytes(Bytes::copy_of(ack.span()), link->out);
    }
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
void deliver_qos0(benchmark::State& state) { delivery(state, 0, Version::v3_1_1, false); }
BENCHMARK(deliver_qos0)->Arg(1)->Arg(100);
void deliver_qos1(benchmark::State& state) { delivery(state, 1, Version::v3_1_1, false); }
BENCHMARK(deliver_qos1)->Arg(100);
void deliver_v5_properties(benchmark::State& state) { delivery(state, 0, Version::v5, true); }
BENCHMARK(deliver_v5_properties)->Arg(1)->Arg(100);

}  // namespace
}  // namespace robustmq::mqtt
