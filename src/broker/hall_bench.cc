// What a message costs in the hall alone: from Publish to the follower's sink, on one core, without sockets and codecs.
#include <benchmark/benchmark.h>

#include "broker/fake_meta.h"
#include "broker/hall.h"
#include "runtime/sim/world.h"
#include "storage/memory/memory_log.h"

namespace robustmq::broker {
namespace {

struct CountingSink final : Sink {
  void on_delivery(const Delivery& delivery) override { bytes += delivery.record.value->size(); }
  void on_notice(Notice) override {}
  uint64_t bytes = 0;
};

struct World {
  World()
      : node(world.add_node({})),
        core(node.core(0)),
        hall({.core = &core, .meta = &meta, .engines = {&engine, &engine}}, options, rules, facts) {
    Hall::introduce({&hall});
    hall.start([](Status) {});
    publisher.sink = &sink;
    publisher.connection_id = 1;
  }
  ~World() {
    hall.close(publisher);
    for (auto& follower : followers) hall.close(*follower);
    node.crash(runtime::sim::CrashKind::process);
  }
  void follow(const std::string& filter) {
    followers.push_back(std::make_unique<Context>());
    followers.back()->sink = &sink;
    followers.back()->connection_id = 1 + followers.size();
    hall.execute(*followers.back(), Follow{{FollowOne{.filter = filter}}}, [](Reply) {});
  }

  runtime::sim::SimWorld world{{}};
  runtime::sim::SimNode& node;
  runtime::sim::SimCore& core;
  storage::MemoryBudget budget{64 << 20};
  storage::MemoryEngine engine{budget};
  FakeCatalog catalog;
  FakeMeta meta{catalog};
  BrokerOptions options;
  TopicRules rules{{}};
  NodeFacts facts;
  CountingSink sink;
  Context publisher;
  std::vector<std::unique_ptr<Context>> followers;
  Hall hall;
};

// One message of 64 B a request, `followers` that get it.
void BM_Publish(benchmark::State& state) {
  World world;
  for (int64_t i = 0; i < state.range(0); ++i) world.follow("bench/topic");
  const std::string payload(64, 'x');
  Buffer headers;
  BatchBuilder::append_header(headers, "mqtt.qos", as_bytes("0"));
  for (auto _ : state) {
    Publish request;
    request.messages.push_back({"bench/topic", as_bytes(payload), headers.span(), 1, state.range(1) != 0});
    world.hall.execute(world.publisher, std::move(request), [](Reply reply) { benchmark::DoNotOptimize(reply); });
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Publish)->ArgNames({"followers", "reply"})->Args({0, 0})->Args({1, 0})->Args({1, 1})->Args({100, 0});

// One message of QoS 1, a turn of the core each, that this many stored sessions are owed whose clients are away.
void BM_PublishToAway(benchmark::State& state) {
  World world;
  world.world.run_for(Duration::millis(10));
  for (int64_t i = 0; i < state.range(0); ++i) {
    Context context;
    context.sink = &world.sink;
    context.connection_id = 1000 + static_cast<uint64_t>(i);
    world.hall.execute(context, OpenSession{.client_id = "away" + std::to_string(i), .clean_start = false, .expiry_s = 86'400},
                       [](Reply) {});
    world.world.run_for(Duration::millis(1));
    world.hall.execute(context, Follow{{FollowOne{.filter = "bench/topic", .qos_max = 1}}}, [](Reply) {});
    world.world.run_for(Duration::millis(1));
    world.hall.close(context);
  }
  const std::string payload(64, 'x');
  Buffer headers;
  BatchBuilder::append_header(headers, "mqtt.qos", as_bytes("1"));
  for (auto _ : state) {
    Publish request;
    request.messages.push_back({"bench/topic", as_bytes(payload), headers.span(), 1, true, 1});
    world.hall.execute(world.publisher, std::move(request), [](Reply reply) { benchmark::DoNotOptimize(reply); });
    world.world.run_for(Duration::micros(50));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_PublishToAway)->ArgName("sessions")->Arg(0)->Arg(1)->Arg(10'000);

}  // namespace
}  // namespace robustmq::broker
