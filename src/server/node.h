// Node: all rooms of one node, put together on the cores of a world, the real or the simulated one. Not pure.
//
// Start, on core 0: format file, segment engine (recovery), key-value rows (RocksDB, or a log in the simulation), catalog; then a
// hall on each core, the rule streams, listeners on each core, the admin API. Stop goes the other way: nothing is accepted any
// more, connections are told and ended, the storage finishes what was asked and makes its last checkpoint.
//
//   Node node(options, sinks);
//   on every core: node.set_up(core);
//   on core 0, when all are set up: node.start(done); ... node.stop(done);
//   on every core, when no loop turns any more: node.tear_down(core);
// After a simulated crash, abandon() and the destructor alone.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/callback.h"
#include "base/result.h"
#include "broker/authenticator.h"
#include "broker/options.h"
#include "broker/topic_rules.h"
#include "observe/log.h"
#include "protocol/connection.h"
#include "protocol/driver/places.h"
#include "protocol/driver/quic_door.h"
#include "runtime/core.h"
#include "runtime/helper.h"
#include "runtime/net.h"
#include "runtime/task.h"
#include "server/options.h"

namespace robustmq::server {

struct NodeRoom;   // what stands on every core (node_room.h)
struct NodeStore;  // what stands on core 0 alone (node_store.h)

// Makes the log's way out for a core; called on it.
using MakeSink = Callback<std::unique_ptr<observe::LogSink>(runtime::Core&)>;

// Where the listeners are, by name, with the ports that were taken: "mqtt", "mqtt_websocket", "kafka", ..., "admin".
using Listening = std::vector<std::pair<std::string, runtime::Endpoint>>;

// The way to the database of rows, and to threads of their own, where the world is real. Without it (in the simulation) the rows
// are a log of their own, and passwords are checked on the cores.
struct RowsDoor {
  std::string folder;  // a path of the operating system
  // Called on the core that the helper is for. `name`: of its thread.
  Callback<std::unique_ptr<runtime::Helper>(runtime::Core&, std::string name)> make_helper;
};

// Reads a file that the options name: a certificate, the user file. On core 0; may wait for the disk.
using ReadFile = Callback<Result<std::string>(const std::string& path)>;

// For tests only.
struct NodeSwitches {
  bool unsafe_skip_sync = false;
};

class Node {
 public:
  // The options were checked. `cores`: of the world it will stand on.
  Node(ServerOptions options, CoreIndex cores, MakeSink make_sink, NodeSwitches switches = {}, RowsDoor rows = {});
  Node(const Node&) = delete;
  ~Node();

  // Before start; without it nothing that lies in files (certificates, users) can be had.
  void set_file_reader(ReadFile read_file) { read_file_ = std::move(read_file); }
  // Before start; without it the time that requests take is not measured.
  void set_clock(Instant (*clock)()) { clock_ = clock; }
  void set_up(runtime::Core& core);
  // Core 0. Error: why the node cannot start; what was started is stopped again by stop().
  void start(Callback<void(Result<Listening>)> done);
  // Core 0, once, after start has called back. `done` comes when everything is on the disk.
  void stop(Callback<void(Status)> done);
  void tear_down(runtime::Core& core);
  // Core 0's tasks end where they are: after a simulated crash.
  void abandon() { tasks_.abandon(); }

  // Core 0: looks at the files of certificates; where they changed, new connections get the new ones. What is wrong with them is
  // logged, and the old ones stay.
  void reload_certificates();
  // Core 0: so too the user file. Whoever is gone from it, or has another password there, is disconnected.
  void reload_users();

  bool is_serving() const { return state_ == State::serving; }
  const ServerOptions& options() const { return options_; }
  // Core 0: the Prometheus text of all cores.
  void metrics_text(Callback<void(std::string)> done);

 private:
  enum class State : uint8_t { made, starting, serving, stopping, stopped };
  using OnCore = Callback<void(NodeRoom&, Callback<void(Status)>)>;

  runtime::Task<Status> open_all();
  runtime::Task<Status> open_store();
  runtime::Task<Status> open_halls();
  runtime::Task<Status> open_listeners();
  void make_doors(NodeRoom& room);
  runtime::Task<Status> open_listener(size_t door);
  Result<net::TlsMaterial> read_material(const net::TlsOptions& tls);
  // Of listener `door`, for every core.
  Status use_material(size_t door, net::TlsMaterial material);
  Status use_quic_material(size_t door, net::TlsMaterial material);
  Status open_certificates();
  static void on_check_certificates(void* self);
  void check_certificates_later();
  Result<broker::Authenticator::Users> read_users();
  Status open_users();
  static void on_check_users(void* self);
  void check_users_later();
  runtime::Endpoint told_address(const ListenerPlan& plan, const runtime::Endpoint& listening);
  runtime::Task<void> run_start(Callback<void(Result<Listening>)> done);
  runtime::Task<void> run_stop(Callback<void(Status)> done);
  // Runs `work` on every core and waits for all; the first error, if any.
  runtime::Task<Status> on_every_core(OnCore work);
  runtime::Task<void> settle();
  void on_core(CoreIndex index, OnCore& work, Callback<void(Status)> done);
  NodeRoom& home() { return *rooms_[0]; }
  Status start_admin();

  ServerOptions options_;
  MakeSink make_sink_;
  NodeSwitches switches_;
  RowsDoor rows_door_;
  broker::TopicRules rules_;
  broker::NodeFacts facts_;
  State state_ = State::made;
  std::vector<ListenerPlan> plans_;
  std::vector<std::shared_ptr<protocol::driver::ConnectionPlaces>> places_;  // as plans_
  std::shared_ptr<protocol::driver::ConnectionPlaces> node_places_;
  std::vector<std::shared_ptr<Rate>> connection_rates_;                         // as plans_
  std::vector<std::shared_ptr<const protocol::LinkLimits>> limits_;             // as plans_
  std::vector<std::shared_ptr<const protocol::driver::QuicRules>> quic_rules_;  // as plans_; null: not QUIC
  std::shared_ptr<broker::QuotaBoard> quotas_ = std::make_shared<broker::QuotaBoard>();
  ReadFile read_file_;
  Instant (*clock_)() = nullptr;
  std::vector<net::TlsMaterial> materials_;  // as plans_
  runtime::Timer check_timer_{&Node::on_check_certificates, this};
  broker::Authenticator::Users users_;
  auth::Digest users_digest_{};  // of the file they are from
  runtime::Timer users_timer_{&Node::on_check_users, this};
  Listening listening_;
  std::vector<std::unique_ptr<NodeRoom>> rooms_;  // by core
  std::unique_ptr<NodeStore> store_;
  runtime::TaskScope tasks_;
};

}  // namespace robustmq::server
