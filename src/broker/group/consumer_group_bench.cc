// A consumer group with server-side assignment: what a heartbeat costs that changes nothing, and what a member costs that comes.
#include <benchmark/benchmark.h>

#include "broker/group/consumer_group_rig.h"

namespace robustmq::broker {
namespace {

// A stable group in which `members` share ten partitions each.
struct Crowd {
  explicit Crowd(int64_t members) {
    lab.options.members_max = INT32_MAX;
    lab.topics.make("t", static_cast<int32_t>(10 * members));
    for (int64_t i = 0; i < members; ++i) clients.push_back({lab, "m" + std::to_string(i)});
    for (int round = 0; round < 4; ++round) {
      for (FakeConsumer& client : clients) client.beat();
    }
  }
  ConsumerLab lab;
  std::vector<FakeConsumer> clients;
};

void BM_HeartbeatWithoutNews(benchmark::State& state) {
  Crowd crowd(state.range(0));
  size_t next = 0;
  for (auto _ : state) {
    FakeConsumer& client = crowd.clients[next++ % crowd.clients.size()];
    benchmark::DoNotOptimize(crowd.lab.group->heartbeat(client.request(), {}, crowd.lab.config, crowd.lab.now));
  }
}
BENCHMARK(BM_HeartbeatWithoutNews)->Arg(10)->Arg(100);

void BM_MemberComesAndGoes(benchmark::State& state) {
  Crowd crowd(state.range(0));
  for (auto _ : state) {
    FakeConsumer one{crowd.lab, "x"};
    one.beat();
    one.leave();
  }
}
BENCHMARK(BM_MemberComesAndGoes)->Arg(10)->Arg(100);

}  // namespace
}  // namespace robustmq::broker
