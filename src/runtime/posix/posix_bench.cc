// What a core pays for: timers, the ring between cores, a message there and back, bytes over a loopback socket.
#include <benchmark/benchmark.h>

#include <memory>
#include <vector>

#include "runtime/net.h"
#include "runtime/posix/ring.h"
#include "runtime/posix/world.h"
#include "runtime/timer_wheel.h"

namespace robustmq::runtime::posix {
namespace {

// A keep-alive timer pushed back by every packet, among 10,000 of them.
void RearmATimer(benchmark::State& state) {
  TimerWheel wheel;
  std::vector<std::unique_ptr<Timer>> timers;
  for (int i = 0; i < 10'000; ++i) {
    timers.push_back(std::make_unique<Timer>([](void*) {}, nullptr));
    wheel.arm(*timers.back(), Instant{} + Duration::seconds(90));
  }
  Instant now{};
  size_t at = 0;
  for (auto _ : state) {
    now = now + Duration::micros(10);
    wheel.arm(*timers[at++ % timers.size()], now + Duration::seconds(90));
    benchmark::DoNotOptimize(wheel.advance(now));
  }
}
BENCHMARK(RearmATimer);

void PushAndPop(benchmark::State& state) {
  Ring<Callback<void()>> ring(1024);
  int ran = 0;
  Callback<void()> work;
  for (auto _ : state) {
    for (int i = 0; i < 64; ++i) ring.push([&ran] { ++ran; });
    while (ring.pop(work)) work();
  }
  state.SetItemsProcessed(ran);
}
BENCHMARK(PushAndPop);

// One message at a time between two cores that sleep meanwhile: the worst case of waking.
void ThereAndBack(benchmark::State& state) {
  constexpr int kBounces = 2000;
  for (auto _ : state) {
    PosixWorld world({.cores = 2});
    std::vector<Core*> cores(2);
    struct Ball {
      PosixWorld& world;
      std::vector<Core*>& cores;
      int left;
      void hit(CoreIndex from) {
        if (left-- == 0) return world.stop();
        CoreIndex to = 1 - from;
        cores[from]->send(to, [this, to] { hit(to); });
      }
    } ball{world, cores, kBounces};
    Status status = world.run([&](Core& core) {
      cores[core.index()] = &core;
      if (core.index() == 0) core.post([&] { ball.hit(0); });
    });
    if (!status) state.SkipWithError("the world did not start");
  }
  state.SetItemsProcessed(state.iterations() * kBounces);
}
BENCHMARK(ThereAndBack)->UseRealTime()->Unit(benchmark::kMillisecond);

// 64 bytes from one socket to another on the same core.
struct Sender final : SocketEvents {
  void on_readable() override {}
  void on_writable() override { socket->write({&piece, 1}, 0); }
  std::unique_ptr<Socket> socket;
  Piece piece = Piece::of(Bytes::copy_of(std::string(64, 'x')));
};
struct Receiver final : SocketEvents {
  void on_readable() override {
    uint8_t into[4096];
    IoResult result = socket->read(into);
    received += result.bytes;
    if (received >= limit) world->stop();
  }
  void on_writable() override {}
  std::unique_ptr<Socket> socket;
  PosixWorld* world = nullptr;
  size_t received = 0;
  size_t limit = 0;
};

void SmallWritesAndReads(benchmark::State& state) {
  constexpr size_t kMessages = 5000;
  for (auto _ : state) {
    PosixWorld world({.cores = 1});
    Sender sender;
    Receiver receiver;
    receiver.world = &world;
    receiver.limit = kMessages * 64;
    std::unique_ptr<Listener> listener;
    Status status = world.run(
        [&](Core& core) {
          listener = core.net()
                         .listen({"127.0.0.1", 0}, {},
                                 [&](std::unique_ptr<Socket> socket) {
                                   receiver.socket = std::move(socket);
                                   receiver.socket->start(receiver);
                                 })
                         .take();
          core.net().connect(listener->local(), [&](Result<std::unique_ptr<Socket>> socket) {
            sender.socket = socket.take();
            sender.socket->start(sender);
            sender.socket->want_write(true);
          });
        },
        [&](Core&) {
          sender.socket.reset();
          receiver.socket.reset();
          listener.reset();
        });
    if (!status) state.SkipWithError("the world did not start");
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kMessages));
}
BENCHMARK(SmallWritesAndReads)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace robustmq::runtime::posix
