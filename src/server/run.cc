#include "server/run.h"

#include <fmt/core.h>

#include <cstdlib>
#include <memory>

#include "runtime/posix/clock.h"
#include "runtime/posix/helper.h"
#include "runtime/posix/world.h"
#include "runtime/timer.h"
#include "server/files.h"
#include "server/node.h"
#include "server/output.h"
#include "server/version.h"

namespace robustmq::server {

namespace {

constexpr CoreIndex kCoresMax = 64;
constexpr size_t kFileBytesMax = 17 << 20;  // the user file is the largest
// Beyond the time that connections have: for the storage.
constexpr Duration kStorageStopLimit = Duration::seconds(30);

std::string in_words(const Error& error) { return error.detail.empty() ? std::string(code_text(error.code)) : error.detail; }

// The process's side of a node: says what happens, and turns signals into a stop. Everything on core 0 but the set-up.
class Run {
 public:
  Run(const ServerOptions& options, NodeSwitches switches) : options_(options), switches_(switches) {}

  int operator()() {
    runtime::posix::PosixOptions world;
    world.cores = options_.runtime.cores;
    world.pin = options_.runtime.pin;
    world.data_directory = options_.node.data_dir;
    world.on_signal = [this](int signal) { on_signal(signal); };
    world_ = std::make_unique<runtime::posix::PosixWorld>(std::move(world));
    if (world_->core_count() > kCoresMax) {
      complain(fmt::format("runtime.cores: this machine has {} CPUs; set runtime.cores to at most {}", world_->core_count(),
                           kCoresMax));
      return 2;
    }
    RowsDoor rows;
    rows.folder = options_.node.data_dir + "/rows";
    rows.make_helper = [](runtime::Core& core, std::string name) {
      return std::make_unique<runtime::posix::PosixHelper>(core, std::move(name));
    };
    node_ = std::make_unique<Node>(
        options_, world_->core_count(), [](runtime::Core& core) { return std::make_unique<CoreLogSink>(core); }, switches_,
        std::move(rows));
    node_->set_clock(&runtime::posix::monotonic_now);
    node_->set_file_reader([](const std::string& path) { return read_file(path, kFileBytesMax); });
    const Status ran =
        world_->run([this](runtime::Core& core) { set_up(core); }, [this](runtime::Core& core) { node_->tear_down(core); });
    if (!ran.ok()) {
      complain(fmt::format("robust-server cannot start: {}", in_words(ran.error())));
      exit_code_ = 1;
    }
    node_.reset();
    world_.reset();
    return exit_code_;
  }

 private:
  enum class State { starting, serving, stopping };

  // On each core's thread, before any loop turns.
  void set_up(runtime::Core& core) {
    node_->set_up(core);
    if (core.index() != 0) return;
    core_ = &core;
    core.post([this] { node_->start([this](Result<Listening> listening) { on_started(std::move(listening)); }); });
  }

  void on_started(Result<Listening> listening) {
    if (!listening.ok()) {
      complain(fmt::format("robust-server cannot start: {}", in_words(listening.error())));
      exit_code_ = 1;
      return begin_stop();
    }
    if (state_ == State::stopping) return begin_stop();
    state_ = State::serving;
    for (const auto& [name, endpoint] : *listening) tell(fmt::format("{} listening on {}", name, endpoint.to_string()));
    tell(fmt::format("robustmq {}: {} cores, data in {}; streams are persistent, MQTT topics without a rule are kept in memory",
                     version(), core_->count(), options_.node.data_dir));
    say_what_to_try(*listening);
    if (!options_.tls.is_on() && options_.listeners.empty())
      tell(
          "TLS is off: set tls.certificate and tls.key, and MQTT over TLS (8883), secure WebSocket (8084) and QUIC (14567/udp) "
          "open");
    if (options_.auth.user_file.empty())
      tell("nobody has to log in: make a user file (robust-ctl user add) and set auth.user_file, and MQTT clients have to");
  }

  static void say_what_to_try(const Listening& listening) {
    const runtime::Endpoint* mqtt = nullptr;
    const runtime::Endpoint* kafka = nullptr;
    for (const auto& [name, endpoint] : listening) {
      if (name == "mqtt") mqtt = &endpoint;
      if (name == "kafka") kafka = &endpoint;
    }
    if (!mqtt || !kafka) return;
    tell(fmt::format("try: mosquitto_pub -p {} -t plant/line1/temp -m 21.5 && kcat -b 127.0.0.1:{} -C -t plant.line1.temp -e -q",
                     mqtt->port, kafka->port));
  }

  void on_signal(int signal) {
    if (signal == runtime::posix::kReloadSignal) {
      if (state_ != State::serving) return;
      node_->reload_certificates();
      node_->reload_users();
      return;
    }
    if (state_ == State::stopping) {
      complain("robust-server: stopped a second time: ending at once");
      std::_Exit(1);
    }
    const bool can_stop = state_ == State::serving;
    state_ = State::stopping;
    if (can_stop) begin_stop();  // else when the start has called back
  }

  void begin_stop() {
    state_ = State::stopping;
    core_->arm(limit_, core_->now() + Duration::millis(options_.node.stop_ms) + kStorageStopLimit);
    node_->stop([this](Status status) {
      if (!status.ok()) {
        complain(fmt::format("robust-server: the storage did not close cleanly: {}", status.error().to_string()));
        exit_code_ = 1;
      }
      limit_.cancel();
      world_->stop();
    });
  }

  static void on_limit(void*) {
    complain("robust-server: the stop takes too long: ending at once; what was acknowledged is on the disk");
    std::_Exit(1);
  }

  const ServerOptions& options_;
  NodeSwitches switches_;
  std::unique_ptr<runtime::posix::PosixWorld> world_;
  std::unique_ptr<Node> node_;
  runtime::Core* core_ = nullptr;
  State state_ = State::starting;
  runtime::Timer limit_{&Run::on_limit, this};
  int exit_code_ = 0;
};

}  // namespace

int run_server(const ServerOptions& options, NodeSwitches switches) { return Run(options, switches)(); }

}  // namespace robustmq::server
