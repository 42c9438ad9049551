// The whole node on real threads: two cores, clients of both protocols on the loopback. Meant for TSan; passes without.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "runtime/posix/world.h"
#include "server/node.h"
#include "tests/sim/history.h"
#include "tests/sim/kafka_clients.h"
#include "tests/sim/mqtt_clients.h"

namespace robustmq::sim {
namespace {

constexpr int kMessages = 200;
constexpr int32_t kPartitions = 2;

class Silent final : public observe::LogSink {
 public:
  explicit Silent(runtime::Core& core) : core_(core) {}
  WallTime now() override { return core_.wall_now(); }
  void write(observe::Level, std::string_view) override {}

 private:
  runtime::Core& core_;
};

// The clients' side: everything lives on the one core of a world of its own, and stops that world when all is acknowledged and
// read.
struct Clients {
  Clients(runtime::Core& core, const server::Listening& at, Callback<void()> finished)
      : tick_([](void* self) { static_cast<Clients*>(self)->look(); }, this), core_(core), finished_(std::move(finished)) {
    runtime::Endpoint mqtt;
    runtime::Endpoint kafka;
    for (const auto& [name, endpoint] : at) {
      if (name == "mqtt") mqtt = endpoint;
      if (name == "kafka") kafka = endpoint;
    }
    for (const char* id : {"a", "b", "c", "d"})
      publishers.push_back(std::make_unique<MqttPublisher>(core, mqtt, "sim", id, history));
    for (const char* id : {"x", "y", "z"}) followers.push_back(std::make_unique<MqttFollower>(core, mqtt, "sim/#", id, history));
    for (int32_t p = 0; p < kPartitions; ++p) {
      producers.push_back(std::make_unique<KafkaProducer>(core, kafka, Place{"orders", p}, "k" + std::to_string(p), history));
    }
    for (const char* topic : {"sim", "orders"})
      readers.push_back(std::make_unique<KafkaReader>(core, kafka, topic, kPartitions, topic, history));
    for (auto& client : followers) client->start();
    for (auto& client : publishers) {
      client->start();
      client->publish_more(kMessages);
    }
    for (auto& client : producers) {
      client->start();
      client->produce_more(kMessages / 4);
    }
    for (auto& client : readers) client->start();
    core_.arm(tick_, core_.now() + Duration::millis(20));
  }
  void look() {
    uint64_t acknowledged = 0;
    for (auto& client : publishers) acknowledged += client->acknowledged();
    uint64_t produced = 0;
    for (auto& client : producers) produced += client->acknowledged();
    // From when they were subscribed.
    const bool all_delivered = std::all_of(followers.begin(), followers.end(), [](auto& each) { return each->delivered() > 0; });
    const bool all_stored = acknowledged == publishers.size() * kMessages && readers[0]->records_read() == acknowledged &&
                            produced >= producers.size() * (kMessages / 4) && readers[1]->records_read() == produced;
    if (all_stored && all_delivered) return finished_();
    core_.arm(tick_, core_.now() + Duration::millis(20));
  }

  History history;
  std::vector<std::unique_ptr<MqttPublisher>> publishers;
  std::vector<std::unique_ptr<MqttFollower>> followers;
  std::vector<std::unique_ptr<KafkaProducer>> producers;
  std::vector<std::unique_ptr<KafkaReader>> readers;
  runtime::Timer tick_;
  runtime::Core& core_;
  Callback<void()> finished_;
};

TEST(CrossCore, ANodeOfTwoCoresServesBothProtocolsAtOnce) {
  std::string directory = (std::filesystem::temp_directory_path() / "robustmq-cross-core-XXXXXX").string();
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  server::ServerOptions options;
  options.mqtt.listen = "127.0.0.1:0";
  options.kafka.listen = "127.0.0.1:0";
  options.admin.listen = "127.0.0.1:0";
  options.node.data_dir = directory;
  for (const char* name : {"sim", "orders"}) {
    broker::TopicRule rule;
    rule.filter = std::string(name) + "/#";
    rule.topic = name;
    rule.partitions = kPartitions;
    options.topic_rule.push_back(rule);
  }

  runtime::posix::PosixWorld node_world({.cores = 2, .data_directory = directory});
  runtime::posix::PosixWorld client_world({.cores = 1});
  server::Node node(options, 2,
                    [](runtime::Core& core) -> std::unique_ptr<observe::LogSink> { return std::make_unique<Silent>(core); });
  std::thread client_thread;
  std::vector<std::string> problems;
  size_t acknowledged = 0;

  // The clients' end reaches the node's core 0 through a timer there, which looks at an atomic.
  std::atomic<bool> clients_done = false;
  struct Watch {
    runtime::Core* core = nullptr;
    std::atomic<bool>* done = nullptr;
    Callback<void()> then;
    runtime::Timer timer{[](void* self) { static_cast<Watch*>(self)->look(); }, this};
    void look() {
      if (done->load()) return then();
      core->arm(timer, core->now() + Duration::millis(20));
    }
  } watch;
  const Status ended = node_world.run(
      [&](runtime::Core& core) {
        node.set_up(core);
        if (core.index() != 0) return;
        watch.core = &core;
        watch.done = &clients_done;
        watch.then = [&] { node.stop([&](Status) { node_world.stop(); }); };
        core.post([&] {
          node.start([&](Result<server::Listening> at) {
            EXPECT_TRUE(at.ok());
            if (!at) return node_world.stop();
            client_thread = std::thread([&, listening = *at] {
              std::unique_ptr<Clients> clients;
              const Status status = client_world.run(
                  [&](runtime::Core& client_core) {
                    // Judged in this turn: in the rest of it something may be acknowledged that nobody reads any more.
                    clients = std::make_unique<Clients>(client_core, listening, [&] {
                      for (auto& reader : clients->readers) reader->hand_over();
                      problems = clients->history.judge();
                      acknowledged = clients->history.acknowledged_count();
                      client_world.stop();
                    });
                  },
                  [&](runtime::Core&) { clients.reset(); });
              EXPECT_TRUE(status.ok());
              clients_done = true;
            });
            watch.look();
          });
        });
      },
      [&](runtime::Core& core) { node.tear_down(core); });
  EXPECT_TRUE(ended.ok());
  if (client_thread.joinable()) client_thread.join();
  EXPECT_TRUE(problems.empty()) << problems.size() << " problems, the first: " << problems[0];
  EXPECT_GE(acknowledged, 4u * kMessages);
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace robustmq::sim
