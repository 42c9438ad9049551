// QuicEndpoint: QUIC at one UDP endpoint on one core: finds the connection of each datagram, answers what belongs to none (Retry,
// version negotiation, stateless reset), holds the connections. Pure (the datagrams are the world's).
//
// Cores. Each core has an endpoint at the same address; together they are a QuicGroup. A connection is made on the core that its
// first datagram comes to. When its socket is handed to another core (Socket::detach) it goes along, and the core it leaves keeps
// an entry that says where it is: datagrams keep coming to the old core (the system chooses by the client's address) and are
// passed on. A client that comes from another address may come to any core; the connection id says which one to ask.
//
// Limits: handshakes that take more than `time_max` are refused, and so are clients over what QuicEvents allows; of connections
// that linger or close at most `ending_max` are kept a core, answers to datagrams of no connection are kAnswersPerSecond at most,
// and datagrams for a connection between two cores kHeldMax.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/callback.h"
#include "base/intrusive.h"
#include "net/quic/cid.h"
#include "net/quic/context.h"
#include "net/quic/options.h"
#include "runtime/core.h"
#include "runtime/datagram.h"

namespace robustmq::net {

class QuicConnection;
class QuicEndpoint;
struct QuicAllTag;
struct QuicDirtyTag;

// What the endpoints of all cores share. Each place is used on its own core alone.
struct QuicGroup {
  explicit QuicGroup(CoreIndex cores) : endpoints(cores) {}
  std::vector<QuicEndpoint*> endpoints;  // by core; null before and after its life
};

// What an endpoint tells its owner, on its core, never from inside a call of the owner.
class QuicEvents {
 public:
  // A client begins a handshake: false refuses it. What is allowed ends in one of the other two.
  virtual bool on_knock(const runtime::Endpoint& peer) = 0;
  // `common_name`: of the client's certificate, or empty.
  virtual void on_entered(std::unique_ptr<runtime::Socket> socket, std::string common_name) = 0;
  virtual void on_refused(std::string_view why, std::string peer) = 0;

 protected:
  ~QuicEvents() = default;
};

class QuicEndpoint final : private runtime::DatagramEvents, private runtime::Deferred {
 public:
  static constexpr uint32_t kAnswersPerSecond = 1'000;
  static constexpr size_t kHeldMax = 32;

  // `events`: null for clients alone. `time_max`: from a client's first datagram to its stream.
  QuicEndpoint(runtime::Core& core, std::shared_ptr<QuicGroup> group, QuicOptions options, Duration time_max, QuicEvents* events);
  ~QuicEndpoint();  // tells every peer that its connection is over

  // Error: why the address cannot be had.
  Result<runtime::Endpoint> open(const runtime::Endpoint& at);
  // For connections from now on; without one no client is let in.
  void set_context(std::shared_ptr<const QuicContext> context);
  // No more clients are let in, and those in their handshake are refused, within this call; the connections go on.
  void stop_accepting();

  // A connection to `to`, whose certificate is to name `server_name`. `done` comes once, with its socket, or why there is none.
  using Dialled = Callback<void(Result<std::unique_ptr<runtime::Socket>>)>;
  void dial(std::shared_ptr<const QuicContext> context, const runtime::IpPort& to, std::string server_name, Dialled done);
  // For tests of migration: a new UDP socket on another port in place of the present one, as when a NAT forgets (the connections
  // do not notice), or with `says_so` as when a client changes its network.
  Status change_address(bool says_so);

  const QuicMetrics& metrics() const { return metrics_; }
  size_t connection_count() const { return connection_count_; }
  size_t route_count() const { return routes_.size(); }
  std::shared_ptr<QuicGroup> group() const { return group_; }

 private:
  friend class QuicConnection;
  friend class QuicSocket;
  friend class QuicDetached;
  friend struct QuicCallbacks;

  // Where datagrams with an id go: to a connection here, or to one that left (its id in `left_`).
  struct Route {
    QuicConnection* connection = nullptr;
    uint64_t left = 0;
  };
  struct Held {
    runtime::DatagramPath path;
    Bytes bytes;
    uint8_t ecn;
  };
  // A connection that went from here to another core.
  struct Left {
    bool has_arrived = false;
    CoreIndex home = 0;
    std::vector<QuicCid> cids;
    std::vector<Held> held;
  };

  void on_datagram(const runtime::DatagramPath& path, std::span<uint8_t> bytes, uint8_t ecn) override;
  void on_writable() override;
  void run_deferred() override;

  // `is_final`: it was passed on to this core, and goes nowhere else.
  void take(const runtime::DatagramPath& path, ByteSpan bytes, uint8_t ecn, bool is_final);
  void pass_on(CoreIndex to, const runtime::DatagramPath& path, ByteSpan bytes, uint8_t ecn);
  void pass_to_left(uint64_t id, const runtime::DatagramPath& path, ByteSpan bytes, uint8_t ecn);
  void meet(const runtime::DatagramPath& path, ByteSpan bytes, uint8_t ecn);
  void accept(const struct QuicFirst& first, ByteSpan bytes, uint8_t ecn);
  void refuse_version(const runtime::DatagramPath& path, ByteSpan client, ByteSpan server);
  void send_retry(const struct QuicFirst& first);
  void refuse(const struct QuicFirst& first, uint64_t error_code);
  void give_to_clients(const runtime::DatagramPath& path, ByteSpan bytes, uint8_t ecn);
  void reset(const runtime::DatagramPath& path, const QuicCid& cid, size_t bytes);
  bool may_answer();

  // ---- for connections ----
  void add_route(const QuicCid& cid, QuicConnection& connection) { routes_[cid] = {&connection, 0}; }
  void drop_route(const QuicCid& cid) { routes_.erase(cid); }
  void drop_route_elsewhere(const QuicConnection& connection, const QuicCid& cid);
  uint64_t wall_ns() const { return static_cast<uint64_t>(core_.wall_now().ms) * 1'000'000; }
  QuicCid fresh_cid();
  void flush_later(QuicConnection& connection);
  bool is_blocked() const { return is_blocked_; }
  // The room for one batch of packets.
  std::span<uint8_t> batch() { return {batch_.get(), kBatchBytes}; }
  bool send(const runtime::DatagramPath& path, ByteSpan bytes, size_t segment_bytes, uint8_t ecn);
  void enter(QuicConnection& connection);
  void on_not_opened(QuicConnection& connection);
  void settle(QuicConnection& connection);          // after anything that may have ended it
  bool may_end_slowly(QuicConnection& connection);  // counts it among the ending ones when there is room
  void add(std::unique_ptr<QuicConnection> connection);
  void remove(QuicConnection& connection);
  std::unique_ptr<QuicConnection> release(QuicConnection& connection);
  std::unique_ptr<runtime::Socket> adopt(std::unique_ptr<QuicConnection> connection);
  void on_arrived(uint64_t id, CoreIndex home);
  void on_ended_elsewhere(uint64_t id);

  static constexpr size_t kBatchBytes = runtime::DatagramSocket::kSegmentsMax * 1500;

  runtime::Core& core_;
  std::shared_ptr<QuicGroup> group_;
  QuicOptions options_;
  Duration time_max_;
  QuicEvents* events_;
  std::shared_ptr<const QuicContext> context_;
  std::unique_ptr<runtime::DatagramSocket> socket_;
  runtime::IpPort local_;  // a client's, in the paths of its connections
  bool is_accepting_ = true;
  bool is_blocked_ = false;
  bool is_ending_ = false;  // in the destructor
  QuicMetrics metrics_;
  std::unordered_map<QuicCid, Route, QuicCidHash> routes_;
  std::unordered_map<uint64_t, Left> left_;
  std::unordered_map<uint64_t, Dialled> dialled_;
  List<QuicConnection, QuicAllTag> all_;      // owned
  List<QuicConnection, QuicDirtyTag> dirty_;  // have something to send, or are to be looked after
  std::unique_ptr<uint8_t[]> batch_;
  size_t connection_count_ = 0;
  size_t ending_count_ = 0;  // sockets gone, or never there
  uint64_t last_id_ = 0;
  Instant answers_since_{};
  uint32_t answers_ = 0;
};

}  // namespace robustmq::net
