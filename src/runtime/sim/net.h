// SimNetwork: connections between simulated nodes. Pure.
//
// Every node listens under its host name (and, from itself, under any loopback name); which address of the node a listener
// names is not looked at. A connection is two ordered byte pipes. Each accepted write is cut into segments at any byte, each
// arrives a seeded delay later, never out of order. A pipe holds a bounded number of bytes between the writer's call and the
// reader's, so writers see would_block. While a direction between two nodes is blocked, what is sent waits, as retransmission
// would have it. Bytes for an end that is gone bring the sender a reset.
//
// Datagrams: node number i is 10.0.i/256.i%256, and 127.x is the node itself. Each arrives a seeded delay later, so they overtake
// each other, or is lost or doubled as the options say; what is blocked is lost. Of several cores' sockets at one port the peer
// chooses: the sum of its address's bytes and its port, modulo their number.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "runtime/datagram.h"
#include "runtime/net.h"
#include "runtime/sim/random.h"
#include "runtime/sim/world.h"

namespace robustmq::runtime::sim {

struct SimNetworkOptions {
  Duration delay_min = Duration::micros(10);
  Duration delay_max = Duration::micros(300);
  size_t pipe_bytes_max = 256 << 10;
  uint32_t cut_per_million = 200'000;  // a segment is cut at a random byte; a read stops short of what is there
  uint32_t reset_per_million = 0;      // the arrival of a segment resets the connection instead
  uint32_t datagrams_lost_per_million = 0;
  uint32_t datagrams_doubled_per_million = 0;
};

struct SimLink;
class SimDatagramSocket;

// Owned by the world.
class SimNetwork {
 public:
  SimNetwork(SimWorld& world, SimRandom random);
  ~SimNetwork();

  void set_options(SimNetworkOptions options) { options_ = options; }
  const SimNetworkOptions& options() const { return options_; }

  // Nothing gets from `from` to `to` until unblocked; connections stay.
  void block(const SimNode& from, const SimNode& to);
  void unblock(const SimNode& from, const SimNode& to);
  void partition(const SimNode& a, const SimNode& b) {
    block(a, b);
    block(b, a);
  }
  void heal();  // unblocks all
  // Resets every connection between the two.
  void reset_between(const SimNode& a, const SimNode& b);
  size_t link_count() const;

  // For SimNode.
  std::unique_ptr<Net> attach(SimCore& core);
  void crash(SimNode& node, CrashKind kind);
  void restart(SimNode& node);

 private:
  friend class SimNet;
  friend class SimSocket;
  friend class SimListener;
  friend struct SimLink;
  friend class SimDatagramSocket;

  struct Listening {
    SimCore* core;
    uint16_t port;
    std::shared_ptr<Callback<void(std::unique_ptr<Socket>)>> on_accept;
  };

  SimNode* find_node(const SimNode& from, const std::string& host);
  bool is_blocked(const SimNode& from, const SimNode& to) const { return blocked_.contains({from.index(), to.index()}); }
  Duration delay();
  void connect(SimCore& from, Endpoint to, Callback<void(Result<std::unique_ptr<Socket>>)> done);
  void arrange(SimCore& from, const Endpoint& to, SimNode& node, Callback<void(Result<std::unique_ptr<Socket>>)> done);
  std::vector<std::shared_ptr<SimLink>> live_links();
  Result<std::unique_ptr<DatagramSocket>> open_datagrams(SimCore& core, const Endpoint& at, DatagramOptions options);
  IpPort address_of(const SimNode& node, uint16_t port) const;
  SimNode* node_at(const SimNode& from, const IpPort& address);
  void carry(SimNode& from, DatagramPath path, Bytes bytes, uint8_t ecn);
  void arrive(SimNode& at, const DatagramPath& path, const Bytes& bytes, uint8_t ecn);

  SimWorld& world_;
  SimRandom random_;
  SimNetworkOptions options_;
  std::map<uint64_t, Listening> listening_;
  std::map<uint64_t, SimDatagramSocket*> datagrams_;  // open ones
  uint64_t last_id_ = 0;
  std::map<int, uint16_t> last_port_;  // by node
  std::set<std::pair<int, int>> blocked_;
  std::map<uint64_t, std::weak_ptr<SimLink>> links_;
};

}  // namespace robustmq::runtime::sim
