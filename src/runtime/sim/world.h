// SimWorld: N nodes with M cores each, in one thread, on one event heap, from one seed. Virtual time passes only between
// events, so a cluster runs as fast as its code, and the same seed gives the same run: trace_hash() says so. Pure.
//
// How time passes: work for a core (messages, socket events, completions, due timers) makes the core ready; its turn comes a
// small seeded delay later and takes all that is ready by then, then the deferred work. A turn takes no virtual time.
//
// Crash: node.crash() drops all work, messages and completions under way and its connections, and takes the disk through what
// the kind of crash does to it. The caller then destroys what it built on the node, calls restart(), and builds anew. What is
// called on a crashed node's cores is dropped.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/callback.h"
#include "base/time.h"
#include "runtime/core.h"
#include "runtime/disk.h"
#include "runtime/net.h"
#include "runtime/sim/random.h"
#include "runtime/timer_wheel.h"

namespace robustmq::runtime::sim {

class SimCore;
class SimDisk;     // runtime/sim/disk.h
class SimNetwork;  // runtime/sim/net.h
class SimNode;
class SimWorld;

// What ends with the node: the process alone (what was written stays, synced or not), or the machine's power.
enum class CrashKind : uint8_t { process, power };

// A file of the simulated disk. The network reads stored ranges through it, at the moment of sending.
class SimFile : public File {
 public:
  // The bytes as a read would find them now; fewer than `size` only at the end of the file.
  Bytes read_now(uint64_t position, size_t size) const override = 0;
};

// What SimDisk offers to the world (runtime/sim/disk.h):
//   SimDisk(SimWorld& world, SimRandom random);
//   std::unique_ptr<Disk> attach(SimCore& core);  // the Disk of one core; made again for each life of the node
//   void crash(CrashKind kind);                   // operations under way get no completion; power: what the contract allows is
//   lost
// It brings its completions with SimCore::run_after, which drops them when the node has crashed meanwhile.

struct SimOptions {
  uint64_t seed = 1;
  Duration turn_delay_max = Duration::micros(5);      // from ready to the turn
  Duration message_delay_max = Duration::micros(20);  // between cores
  size_t unsent_messages_max = 4096;                  // a core's messages under way before it is congested
  WallTime wall_start{1'750'000'000'000};
};

struct SimNodeOptions {
  std::string name;  // also its host name in the network; empty: "node<index>"
  CoreIndex cores = 1;
};

// One core. Its functions beyond Core are for the simulated disk and network.
class SimCore final : public Core {
 public:
  SimCore(SimNode& node, CoreIndex index, SimRandom random);
  ~SimCore() override;

  CoreIndex index() const override { return index_; }
  CoreIndex count() const override;
  Instant now() const override;
  WallTime wall_now() const override;
  uint64_t random() override { return random_.next(); }
  void arm(Timer& timer, Instant due) override;
  void defer(Deferred& work) override;
  void post(Callback<void()> work) override;
  void send(CoreIndex to, Callback<void()> work) override;
  bool is_congested() const override;
  Disk& disk() override;
  Net& net() override;

  // Runs `work` in a turn of this core, `delay` from now or a little later. Dropped when the node crashes before.
  void run_after(Duration delay, Callback<void()> work);
  SimNode& node() { return node_; }
  SimWorld& world();

 private:
  friend class SimNode;
  friend class SimWorld;

  struct Pending {
    Callback<void()> work;
    SimCore* sender = nullptr;  // of a message: whose count goes down when it arrives
  };

  void enqueue_at(Instant at, Pending pending);
  void arrive(uint64_t id);
  void make_ready();
  void wake_for_timers();
  void run_turn();
  void start();
  void drop_all();

  SimNode& node_;
  CoreIndex index_;
  SimRandom random_;
  TimerWheel wheel_;
  List<Deferred, DeferTag> deferred_;
  std::vector<Callback<void()>> ready_;
  std::map<uint64_t, Pending> pending_;  // on their way to ready_, by id
  uint64_t last_id_ = 0;
  std::vector<Instant> last_arrival_;  // by core sent to: keeps the order of a pair
  size_t unsent_ = 0;
  uint64_t turn_id_ = 0;  // of the turn that is due; 0 when none is
  uint64_t last_turn_id_ = 0;
  Instant wake_at_ = Instant::never();
  std::unique_ptr<Disk> disk_;
  std::unique_ptr<Net> net_;
};

class SimNode {
 public:
  SimNode(SimWorld& world, int index, SimNodeOptions options, SimRandom random);
  ~SimNode();

  int index() const { return index_; }
  const std::string& host() const { return options_.name; }
  SimWorld& world() { return world_; }
  CoreIndex core_count() const { return options_.cores; }
  SimCore& core(CoreIndex index) { return *cores_[index]; }
  SimDisk& disk() { return *disk_; }  // survives crashes

  bool is_up() const { return is_up_; }
  uint64_t life() const { return life_; }  // how often it was started; from 1
  void crash(CrashKind kind);
  void restart();
  // The node's wall clock is off by this much from now on.
  void set_wall_skew(Duration skew) { wall_skew_ = skew; }
  Duration wall_skew() const { return wall_skew_; }

 private:
  friend class SimWorld;

  SimWorld& world_;
  int index_;
  SimNodeOptions options_;
  bool is_up_ = true;
  uint64_t life_ = 1;
  Duration wall_skew_{};
  std::unique_ptr<SimDisk> disk_;
  std::vector<std::unique_ptr<SimCore>> cores_;
};

// Owns the nodes, the network and the event heap. What was built on the nodes goes before the world, or nodes crash first.
class SimWorld {
 public:
  explicit SimWorld(SimOptions options);
  ~SimWorld();

  // Nodes of the cluster and outside clients alike; each lives until the world ends.
  SimNode& add_node(SimNodeOptions options = {});
  SimNode& node(int index) { return *nodes_[index]; }
  int node_count() const { return static_cast<int>(nodes_.size()); }
  SimNetwork& network() { return *network_; }
  const SimOptions& options() const { return options_; }

  Instant now() const { return now_; }
  // For workloads and faults; nodes and the network draw from their own.
  SimRandom& random() { return random_; }

  // Calls `work` at `at` (or now when that is past), outside any core. Equal instants: in the order scheduled.
  void schedule(Instant at, Callback<void()> work);

  // Runs until `done` holds, checked after each event; false when `limit` of virtual time passed or nothing is left to happen.
  bool run_until(Callback<bool()> done, Duration limit);
  // Runs what happens within the next `span`; afterwards now() is that much later.
  void run_for(Duration span);
  bool is_idle() const { return events_.empty(); }

  // Mixes a fact into the trace.
  void trace(uint64_t fact);
  uint64_t trace_hash() const { return trace_hash_; }
  uint64_t event_count() const { return event_count_; }

 private:
  friend class SimCore;
  struct Event {
    Instant at;
    uint64_t sequence;
    Callback<void()> work;
  };
  struct Later {
    bool operator()(const Event& a, const Event& b) const { return a.at != b.at ? a.at > b.at : a.sequence > b.sequence; }
  };
  void run_next();

  SimOptions options_;
  SimRandom random_;
  SimRandom delays_;
  Instant now_{};
  uint64_t sequence_ = 0;
  uint64_t trace_hash_ = 0;
  uint64_t event_count_ = 0;
  std::vector<Event> events_;  // a heap, earliest first
  std::unique_ptr<SimNetwork> network_;
  std::vector<std::unique_ptr<SimNode>> nodes_;
};

}  // namespace robustmq::runtime::sim
