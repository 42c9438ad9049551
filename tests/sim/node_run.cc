#include "tests/sim/node_run.h"

#include <cstdio>
#include <utility>

namespace robustmq::sim {
namespace {

using runtime::sim::CrashKind;
using runtime::sim::SimRandom;

constexpr Duration kStartLimit = Duration::seconds(60);
constexpr Duration kProgressLimit = Duration::seconds(60);
constexpr int32_t kPartitions = 2;

class Sink final : public observe::LogSink {
 public:
  Sink(runtime::Core& core, bool prints) : core_(core), prints_(prints) {}
  WallTime now() override { return core_.wall_now(); }
  void write(observe::Level, std::string_view line) override {
    if (prints_) std::fprintf(stderr, "  %.*s", static_cast<int>(line.size()), line.data());
  }

 private:
  runtime::Core& core_;
  bool prints_;
};

server::ServerOptions options_of(SimRandom& random) {
  server::ServerOptions options;
  options.mqtt.listen = "127.0.0.1:1883";
  options.kafka.listen = "127.0.0.1:9092";
  options.admin.listen = "127.0.0.1:58080";
  // Small, so that files roll, recycle and checkpoint within a run.
  options.storage.journal_file_bytes = 64 << 10 << random.next() % 3;
  options.storage.direct_bytes_min = 32 << 10;
  for (const char* name : {"sim", "orders"}) {
    broker::TopicRule rule;
    rule.filter = std::string(name) + "/#";
    rule.topic = name;
    rule.partitions = kPartitions;
    rule.retention_ms = -1;
    options.topic_rule.push_back(rule);
  }
  return options;
}

class Run {
 public:
  explicit Run(const RunOptions& options)
      : options_(options),
        world_({.seed = options.seed}),
        random_(world_.random()),
        node_(world_.add_node({.name = "broker", .cores = static_cast<CoreIndex>(1 + random_.next() % 2)})),
        clients_(world_.add_node({.name = "clients"})),
        server_options_(options_of(random_)) {
    auto network = world_.network().options();
    network.reset_per_million = random_.next() % 2 == 0 ? 0 : 200;
    world_.network().set_options(network);
    const runtime::Endpoint mqtt{"broker", 1883};
    const runtime::Endpoint kafka{"broker", 9092};
    runtime::Core& core = clients_.core(0);
    for (const char* id : {"a", "b", "c"})
      publishers_.push_back(std::make_unique<MqttPublisher>(core, mqtt, "sim", id, history_));
    follower_ = std::make_unique<MqttFollower>(core, mqtt, "sim/#", "follower", history_);
    for (int32_t p = 0; p < kPartitions; ++p) {
      producers_.push_back(std::make_unique<KafkaProducer>(core, kafka, Place{"orders", p}, "k" + std::to_string(p), history_));
    }
    make_readers("live");
  }
  ~Run() {
    clients_.crash(CrashKind::process);
    if (server_) stop_at_once(CrashKind::process);
  }

  RunResult run() {
    RunResult result;
    if (start_server()) {
      for (auto& publisher : publishers_) publisher->start();
      for (auto& producer : producers_) producer->start();
      for (auto& reader : readers_) reader->start();
      follower_->start();
      for (int round = 0; round < options_.rounds && problems_.empty(); ++round) {
        work_under_faults();
        ++result.crashes;
        const CrashKind kind = random_.next() % 3 == 0 ? CrashKind::process : CrashKind::power;
        say(kind == CrashKind::power ? "power cut" : "process killed");
        stop_at_once(kind);
        world_.run_for(Duration::millis(static_cast<int64_t>(random_.next() % 30)));
        heal();
        if (!start_server()) break;
      }
      // Where a reader saw what a crash took back, nothing can get on; the history says it better.
      if (problems_.empty() && !options_.unsafe_skip_sync) demand_progress();
      if (problems_.empty()) read_everything();
    }
    result.problems = problems_;
    for (std::string& problem : history_.judge()) {
      if (finished_reading_) result.problems.push_back(std::move(problem));
    }
    result.trace_hash = world_.trace_hash();
    result.sent = history_.sent_count();
    result.acknowledged = history_.acknowledged_count();
    return result;
  }

 private:
  void say(const std::string& what) {
    if (options_.prints) std::fprintf(stderr, "%10.3f ms  %s\n", static_cast<double>(world_.now().ns) / 1e6, what.c_str());
  }
  void make_readers(const std::string& id) {
    const runtime::Endpoint kafka{"broker", 9092};
    for (const char* topic : {"sim", "orders"}) {
      readers_.push_back(std::make_unique<KafkaReader>(clients_.core(0), kafka, topic, kPartitions, id + topic, history_));
    }
  }

  bool start_server() {
    const auto make_sink = [this](runtime::Core& core) -> std::unique_ptr<observe::LogSink> {
      return std::make_unique<Sink>(core, options_.prints);
    };
    server_ = std::make_unique<server::Node>(server_options_, node_.core_count(), make_sink,
                                             server::NodeSwitches{.unsafe_skip_sync = options_.unsafe_skip_sync});
    for (CoreIndex i = 0; i < node_.core_count(); ++i) server_->set_up(node_.core(i));
    std::optional<Result<server::Listening>> started;
    // A crash may come before the answer: it must not write here then.
    auto answer = std::make_shared<std::optional<Result<server::Listening>>>();
    node_.core(0).post([this, answer] { server_->start([answer](Result<server::Listening> at) { *answer = std::move(at); }); });
    world_.run_until([&] { return answer->has_value(); }, kStartLimit);
    if (!answer->has_value()) {
      problems_.push_back("the node does not start within a minute");
    } else if (!(**answer).ok()) {
      problems_.push_back("the node does not start: " + (**answer).error().to_string());
    }
    return problems_.empty();
  }
  void stop_at_once(CrashKind kind) {
    node_.crash(kind);
    server_->abandon();
    server_.reset();
    node_.restart();
  }
  void heal() {
    node_.disk().faults() = {};
    world_.network().heal();
  }

  void work_under_faults() {
    const int steps = 1 + static_cast<int>(random_.next() % 4);
    for (int step = 0; step < steps; ++step) {
      for (auto& publisher : publishers_) publisher->publish_more(static_cast<int>(random_.next() % 12));
      for (auto& producer : producers_) producer->produce_more(static_cast<int>(random_.next() % 6));
      auto& faults = node_.disk().faults();
      switch (random_.next() % 8) {
        case 0:
          say("the disk is full");
          faults.capacity_bytes = node_.disk().used_bytes() + random_.next() % 20'000;
          break;
        case 1:
          say("the next sync fails");
          faults.sync_errors = 1;
          break;
        case 2:
          say("the disk is slow");
          faults.slow_factor = 50;
          break;
        case 3:
          say("connections are reset");
          world_.network().reset_between(node_, clients_);
          break;
        case 4:
          say("the network is cut");
          world_.network().partition(node_, clients_);
          break;
        default:
          heal();
          break;
      }
      world_.run_for(Duration::micros(static_cast<int64_t>(500 + random_.next() % 20'000)));
    }
  }

  // After healing every client's next message is acknowledged.
  void demand_progress() {
    say("healed; every client must get on");
    // What is published while it comes back is not for the follower: its session is clean.
    if (!world_.run_until([&] { return follower_->is_subscribed(); }, kProgressLimit))
      problems_.push_back("the follower cannot subscribe within a minute after healing");
    std::vector<uint64_t> before;
    for (auto& publisher : publishers_) before.push_back(publisher->acknowledged());
    for (auto& producer : producers_) before.push_back(producer->acknowledged());
    for (auto& reader : readers_) before.push_back(reader->records_read());
    before.push_back(follower_->delivered());
    const auto stuck = [&] {
      size_t i = 0;
      for (auto& publisher : publishers_) {
        if (publisher->acknowledged() <= before[i++]) return "a publisher";
      }
      for (auto& producer : producers_) {
        if (producer->acknowledged() <= before[i++]) return "a producer";
      }
      for (auto& reader : readers_) {
        if (reader->records_read() <= before[i++]) return "a reader";
      }
      return follower_->delivered() > before[i] ? "" : "the follower";
    };
    // Again and again: the follower may learn only now that its link is gone, and misses what comes before it is back.
    for (int second = 0; second < 60; ++second) {
      for (auto& publisher : publishers_) publisher->publish_more(3);
      for (auto& producer : producers_) producer->produce_more(3);
      if (world_.run_until([&] { return *stuck() == 0; }, Duration::seconds(1))) return;
    }
    problems_.push_back(std::string("no progress within a minute after healing: ") + stuck());
  }

  void read_everything() {
    for (auto& publisher : publishers_) publisher->stop();
    for (auto& producer : producers_) producer->stop();
    for (auto& reader : readers_) reader->stop();
    // What was on its way arrives, or never will.
    world_.run_for(Duration::millis(500));
    const size_t first = readers_.size();
    make_readers("final");
    for (size_t i = first; i < readers_.size(); ++i) readers_[i]->start();
    const bool all_read = world_.run_until(
        [&] {
          for (size_t i = first; i < readers_.size(); ++i) {
            if (!readers_[i]->is_at_end()) return false;
          }
          return true;
        },
        kProgressLimit);
    if (!all_read) {
      problems_.push_back("the log cannot be read to its end");
      return;
    }
    for (size_t i = first; i < readers_.size(); ++i) readers_[i]->hand_over();
    finished_reading_ = true;
  }

  RunOptions options_;
  runtime::sim::SimWorld world_;
  SimRandom& random_;
  runtime::sim::SimNode& node_;
  runtime::sim::SimNode& clients_;
  server::ServerOptions server_options_;
  History history_;
  std::unique_ptr<server::Node> server_;
  std::vector<std::unique_ptr<MqttPublisher>> publishers_;
  std::unique_ptr<MqttFollower> follower_;
  std::vector<std::unique_ptr<KafkaProducer>> producers_;
  std::vector<std::unique_ptr<KafkaReader>> readers_;
  std::vector<std::string> problems_;
  bool finished_reading_ = false;
};

}  // namespace

RunResult run_node(const RunOptions& options) { return Run(options).run(); }

}  // namespace robustmq::sim
