// Simulated datagrams (see net.h). Pure.
#include <algorithm>
#include <vector>

#include "runtime/sim/net.h"

namespace robustmq::runtime::sim {

class SimDatagramSocket final : public DatagramSocket {
 public:
  SimDatagramSocket(SimNetwork& network, SimCore& core, uint64_t id, IpPort local, DatagramOptions options)
      : network_(network), core_(core), id_(id), life_(core.node().life()), local_(local), options_(std::move(options)) {
    network_.datagrams_[id_] = this;
  }
  ~SimDatagramSocket() override { network_.datagrams_.erase(id_); }

  void start(DatagramEvents& events) override { events_ = &events; }
  size_t send(const DatagramPath& path, std::span<const uint8_t> bytes, size_t segment_bytes, uint8_t ecn) override {
    DatagramPath way = path;
    way.local = local_;
    for (size_t at = 0; at < bytes.size(); at += segment_bytes) {
      const std::span<const uint8_t> one = bytes.subspan(at, std::min(segment_bytes, bytes.size() - at));
      network_.carry(core_.node(), way, Bytes::copy_of(one), ecn);
    }
    return bytes.size();
  }
  Endpoint local() const override { return local_.to_endpoint(); }

  bool is_at(const SimNode& node, uint16_t port) const {
    return &core_.node() == &node && local_.port == port && node.is_up() && node.life() == life_;
  }
  SimCore& core() { return core_; }
  void deliver(const DatagramPath& path, const Bytes& bytes, uint8_t ecn) {
    if (!events_) return;
    if (bytes.size() > kDatagramBytesMax) {
      if (options_.on_cut) options_.on_cut(bytes.size());
      return;
    }
    std::vector<uint8_t> own(bytes.begin(), bytes.end());
    events_->on_datagram(path, own, ecn);
  }

 private:
  SimNetwork& network_;
  SimCore& core_;
  uint64_t id_;
  uint64_t life_;
  IpPort local_;
  DatagramOptions options_;
  DatagramEvents* events_ = nullptr;
};

Result<std::unique_ptr<DatagramSocket>> SimNetwork::open_datagrams(SimCore& core, const Endpoint& at, DatagramOptions options) {
  if (!core.node().is_up()) return Code::shutting_down;
  uint16_t port = at.port;
  if (port == 0) port = static_cast<uint16_t>(20'000 + last_port_[core.node().index()]++ % 10'000);
  return std::unique_ptr<DatagramSocket>(
      std::make_unique<SimDatagramSocket>(*this, core, ++last_id_, address_of(core.node(), port), std::move(options)));
}

IpPort SimNetwork::address_of(const SimNode& node, uint16_t port) const {
  IpPort address;
  address.ip = {10, 0, static_cast<uint8_t>(node.index() >> 8), static_cast<uint8_t>(node.index())};
  address.port = port;
  return address;
}

SimNode* SimNetwork::node_at(const SimNode& from, const IpPort& address) {
  const int index = address.ip[0] == 127 ? from.index() : address.ip[2] << 8 | address.ip[3];
  return index < world_.node_count() ? &world_.node(index) : nullptr;
}

void SimNetwork::carry(SimNode& from, DatagramPath path, Bytes bytes, uint8_t ecn) {
  SimNode* to = node_at(from, path.peer);
  if (!from.is_up() || !to) return;
  const int copies = random_.chance(options_.datagrams_lost_per_million)      ? 0
                     : random_.chance(options_.datagrams_doubled_per_million) ? 2
                                                                              : 1;
  for (int i = 0; i < copies; ++i) {
    world_.schedule(world_.now() + delay(), [this, &from, to, path, bytes, ecn] {
      if (is_blocked(from, *to) || !to->is_up()) return;
      world_.trace(bytes.size() << 2 | 3);
      arrive(*to, {address_of(*to, path.peer.port), path.local}, bytes, ecn);
    });
  }
}

void SimNetwork::arrive(SimNode& at, const DatagramPath& path, const Bytes& bytes, uint8_t ecn) {
  std::vector<uint64_t> open;
  for (auto& [id, socket] : datagrams_) {
    if (socket->is_at(at, path.local.port)) open.push_back(id);
  }
  if (open.empty()) return;
  size_t sum = path.peer.port;
  for (uint8_t byte : path.peer.ip) sum += byte;
  const uint64_t chosen = open[sum % open.size()];
  datagrams_[chosen]->core().run_after({}, [this, chosen, path, bytes, ecn] {
    const auto found = datagrams_.find(chosen);
    if (found != datagrams_.end()) found->second->deliver(path, bytes, ecn);
  });
}

}  // namespace robustmq::runtime::sim
