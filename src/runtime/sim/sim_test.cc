// The simulated world: the same seed gives the same run; turns, messages, timers, crashes; the network.
#include <gtest/gtest.h>

#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "runtime/sim/net.h"
#include "runtime/sim/world.h"

namespace robustmq::runtime::sim {
namespace {

uint64_t fresh_seed() {
  uint64_t seed = std::random_device{}();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

struct Alarm {
  explicit Alarm(Callback<void()> work)
      : work(std::move(work)), timer([](void* self) { static_cast<Alarm*>(self)->work(); }, this) {}
  Callback<void()> work;
  Timer timer;
};

struct Late : Deferred {
  explicit Late(Callback<void()> of) : work(std::move(of)) {}
  void run_deferred() override { work(); }
  Callback<void()> work;
};

TEST(SimCore, RunsDeferredWorkOnceAtTheEndOfTheTurn) {
  SimWorld world({.seed = fresh_seed()});
  SimCore& core = world.add_node().core(0);
  std::vector<int> seen;
  Late inner([&] { seen.push_back(3); });
  Late late([&] {
    seen.push_back(2);
    core.defer(inner);
  });
  core.post([&] {
    core.defer(late);
    core.defer(late);
    seen.push_back(1);
  });
  world.run_for(Duration::millis(1));
  EXPECT_EQ(seen, (std::vector<int>{1, 2, 3}));
}

TEST(SimCore, TimersFireInVirtualTime) {
  SimWorld world({.seed = fresh_seed()});
  SimCore& core = world.add_node().core(0);
  Instant fired{};
  Alarm alarm([&] { fired = core.now(); });
  core.arm(alarm.timer, Instant{} + Duration::seconds(3600));
  EXPECT_FALSE(world.run_until([&] { return fired != Instant{}; }, Duration::seconds(3599)));
  EXPECT_TRUE(world.run_until([&] { return fired != Instant{}; }, Duration::seconds(2)));
  EXPECT_GE(fired, Instant{} + Duration::seconds(3600));
  EXPECT_LE(fired, Instant{} + Duration::seconds(3600) + Duration::millis(1));
}

TEST(SimCore, MessagesBetweenTwoCoresKeepTheirOrder) {
  SimWorld world({.seed = fresh_seed()});
  SimNode& node = world.add_node({.cores = 3});
  std::vector<int> seen;
  for (int i = 0; i < 100; ++i) {
    node.core(0).send(1, [&seen, i] { seen.push_back(i); });
    node.core(2).send(0, [] {});
  }
  world.run_for(Duration::millis(10));
  ASSERT_EQ(seen.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(seen[i], i);
}

TEST(SimCore, IsCongestedWhileTooMuchIsUnderWay) {
  SimWorld world({.seed = fresh_seed(), .unsent_messages_max = 10});
  SimNode& node = world.add_node({.cores = 2});
  for (int i = 0; i < 11; ++i) node.core(0).send(1, [] {});
  EXPECT_TRUE(node.core(0).is_congested());
  world.run_for(Duration::millis(1));
  EXPECT_FALSE(node.core(0).is_congested());
}

TEST(SimNode, ACrashDropsAllThatWasUnderWay) {
  SimWorld world({.seed = fresh_seed()});
  SimNode& node = world.add_node({.cores = 2});
  int ran = 0;
  Alarm alarm([&] { ++ran; });
  Late late([&] { ++ran; });
  node.core(0).arm(alarm.timer, Instant{} + Duration::millis(1));
  node.core(0).post([&] { ++ran; });
  node.core(0).send(1, [&] { ++ran; });
  node.core(0).defer(late);
  node.core(0).run_after(Duration::millis(3), [&] { ++ran; });
  node.crash(CrashKind::process);
  node.core(0).post([&] { ++ran; });
  node.restart();
  world.run_for(Duration::seconds(1));
  EXPECT_EQ(ran, 0);
  node.core(1).post([&] { ++ran; });
  world.run_for(Duration::seconds(1));
  EXPECT_EQ(ran, 1);
  EXPECT_EQ(node.life(), 2u);
}

TEST(SimNode, MayCrashInItsOwnTurn) {
  SimWorld world({.seed = fresh_seed()});
  SimNode& node = world.add_node();
  int ran = 0;
  node.core(0).post([&] { node.crash(CrashKind::power); });
  node.core(0).post([&] { ++ran; });
  world.run_for(Duration::seconds(1));
  EXPECT_EQ(ran, 0);
  EXPECT_FALSE(node.is_up());
}

TEST(SimNode, WallClockMayBeSkewed) {
  SimWorld world({.wall_start = {1000}});
  SimNode& node = world.add_node();
  world.run_for(Duration::millis(5));
  EXPECT_EQ(node.core(0).wall_now().ms, 1005);
  node.set_wall_skew(Duration::millis(-1000));
  EXPECT_EQ(node.core(0).wall_now().ms, 5);
}

// ---- the network ----

// Sends what it is told to, reads all that comes.
struct Talker final : SocketEvents {
  explicit Talker(std::unique_ptr<Socket> of) : socket(std::move(of)) { socket->start(*this); }
  void say(std::string text) {
    unsent += text;
    push();
  }
  void push() {
    while (!unsent.empty()) {
      Piece piece = Piece::of(Bytes::copy_of(unsent));
      IoResult result = socket->write({&piece, 1}, 0);
      if (result.kind == IoResult::Kind::failed) failed = true;
      if (result.kind != IoResult::Kind::moved) break;
      unsent.erase(0, result.bytes);
    }
    if (!unsent.empty()) would_block = true;
    socket->want_write(!unsent.empty() && !failed);
    if (unsent.empty() && end_after) socket->close_write();
  }
  void on_writable() override { push(); }
  void on_readable() override {
    uint8_t into[777];
    IoResult result = socket->read(into);
    if (result.kind == IoResult::Kind::moved) heard.append(reinterpret_cast<char*>(into), result.bytes);
    if (result.kind == IoResult::Kind::end) ended = true;
    if (result.kind == IoResult::Kind::failed) failed = true;
    if (ended || failed) socket->want_read(false);
  }
  std::unique_ptr<Socket> socket;
  std::string unsent, heard;
  bool end_after = false, ended = false, failed = false, would_block = false;
};

struct Pair {
  explicit Pair(uint64_t seed, CoreIndex cores = 1) : world({.seed = seed}) {
    server_node = &world.add_node({.name = "server", .cores = cores});
    client_node = &world.add_node({.name = "client"});
    for (CoreIndex i = 0; i < cores; ++i) {
      auto at = server_node->core(i).net().listen({"0.0.0.0", 1883}, {}, [this, i](std::unique_ptr<Socket> socket) {
        accepted_on.push_back(i);
        server = std::make_unique<Talker>(std::move(socket));
      });
      listeners.push_back(at.take());
    }
  }
  void connect() {
    client_node->core(0).net().connect({"server", 1883}, [this](Result<std::unique_ptr<Socket>> socket) {
      answered = true;
      code = socket.code();
      if (socket.ok()) client = std::make_unique<Talker>(socket.take());
    });
  }
  bool meet() {
    connect();
    return world.run_until([this] { return client && server; }, Duration::seconds(1));
  }
  SimWorld world;
  SimNode* server_node;
  SimNode* client_node;
  std::vector<std::unique_ptr<Listener>> listeners;
  std::vector<CoreIndex> accepted_on;
  std::unique_ptr<Talker> server, client;
  bool answered = false;
  Code code = Code::ok;
};

std::string long_text(size_t size) {
  std::string text(size, ' ');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i * 7 % 23);
  return text;
}

TEST(SimNetwork, CarriesBytesInOrderWhateverTheCuts) {
  Pair pair(fresh_seed());
  pair.world.network().set_options({.pipe_bytes_max = 4000, .cut_per_million = 500'000});
  ASSERT_TRUE(pair.meet());
  std::string text = long_text(100'000);
  pair.client->end_after = true;
  pair.client->say(text);
  pair.server->say("hello");
  ASSERT_TRUE(pair.world.run_until([&] { return pair.server->ended; }, Duration::seconds(60)));
  EXPECT_EQ(pair.server->heard, text);
  EXPECT_EQ(pair.client->heard, "hello");
  EXPECT_TRUE(pair.client->would_block);
}

TEST(SimNetwork, SpreadsConnectionsOverListeningCores) {
  Pair pair(fresh_seed(), 2);
  for (int i = 0; i < 40; ++i) pair.connect();
  pair.world.run_for(Duration::seconds(1));
  ASSERT_EQ(pair.accepted_on.size(), 40u);
  EXPECT_NE(std::count(pair.accepted_on.begin(), pair.accepted_on.end(), 0), 0);
  EXPECT_NE(std::count(pair.accepted_on.begin(), pair.accepted_on.end(), 1), 0);
}

TEST(SimNetwork, RefusesWhereNobodyListens) {
  Pair pair(fresh_seed());
  pair.listeners.clear();
  pair.connect();
  pair.world.run_for(Duration::seconds(1));
  EXPECT_EQ(pair.code, Code::connection_lost);
}

TEST(SimNetwork, APartitionHoldsBytesBackUntilItHeals) {
  Pair pair(fresh_seed());
  ASSERT_TRUE(pair.meet());
  pair.world.network().block(*pair.client_node, *pair.server_node);
  pair.client->say("one");
  pair.server->say("two");
  pair.world.run_for(Duration::seconds(10));
  EXPECT_EQ(pair.server->heard, "");
  EXPECT_EQ(pair.client->heard, "two");
  pair.world.network().heal();
  pair.world.run_for(Duration::seconds(1));
  EXPECT_EQ(pair.server->heard, "one");
}

TEST(SimNetwork, AKilledProcessResetsItsConnections) {
  Pair pair(fresh_seed());
  ASSERT_TRUE(pair.meet());
  pair.server_node->crash(CrashKind::process);
  pair.server.reset();
  pair.world.run_for(Duration::seconds(1));
  EXPECT_TRUE(pair.client->failed);
  pair.listeners.clear();
}

TEST(SimNetwork, AMachineWithoutPowerIsSilentUntilItIsBack) {
  Pair pair(fresh_seed());
  ASSERT_TRUE(pair.meet());
  pair.server_node->crash(CrashKind::power);
  pair.server.reset();
  pair.client->say("anyone?");
  pair.world.run_for(Duration::seconds(10));
  EXPECT_FALSE(pair.client->failed);
  pair.server_node->restart();
  pair.world.run_for(Duration::seconds(1));
  EXPECT_TRUE(pair.client->failed);
  pair.listeners.clear();
}

TEST(SimNetwork, ASocketMovesToAnotherCoreWithItsBytes) {
  Pair pair(fresh_seed(), 2);
  ASSERT_TRUE(pair.meet());
  pair.client->say("one");
  pair.world.run_for(Duration::millis(100));
  EXPECT_EQ(pair.server->heard, "one");
  CoreIndex from = pair.accepted_on[0], to = 1 - from;
  auto detached = pair.server->socket->detach();
  pair.client->say("two");
  pair.server_node->core(from).send(to, [&, detached = std::move(detached)]() mutable {
    pair.server = std::make_unique<Talker>(pair.server_node->core(to).net().adopt(std::move(detached)));
  });
  pair.world.run_for(Duration::millis(100));
  EXPECT_EQ(pair.server->heard, "two");
  pair.server->say("three");
  pair.world.run_for(Duration::millis(100));
  EXPECT_EQ(pair.client->heard, "three");
}

TEST(SimNetwork, WritingToAClosedPeerFails) {
  Pair pair(fresh_seed());
  ASSERT_TRUE(pair.meet());
  pair.server.reset();
  pair.world.run_for(Duration::millis(100));
  EXPECT_TRUE(pair.client->ended);
  pair.client->say("x");
  pair.world.run_for(Duration::millis(100));
  pair.client->say("y");
  EXPECT_TRUE(pair.client->failed);
}

uint64_t a_busy_run(uint64_t seed) {
  Pair pair(seed, 2);
  pair.world.network().set_options({.pipe_bytes_max = 3000, .cut_per_million = 300'000, .reset_per_million = 2000});
  if (!pair.meet()) return 0;
  pair.client->say(long_text(50'000));
  pair.server->say(long_text(20'000));
  pair.world.run_for(Duration::seconds(2));
  pair.server_node->crash(CrashKind::process);
  pair.server.reset();
  pair.listeners.clear();
  pair.server_node->restart();
  pair.world.run_for(Duration::seconds(2));
  pair.world.trace(pair.client->heard.size());
  return pair.world.trace_hash();
}

TEST(SimWorld, TheSameSeedGivesTheSameTrace) {
  uint64_t seed = fresh_seed();
  uint64_t first = a_busy_run(seed);
  EXPECT_NE(first, 0u);
  EXPECT_EQ(first, a_busy_run(seed));
  EXPECT_NE(first, a_busy_run(seed + 1));
}

}  // namespace
}  // namespace robustmq::runtime::sim
